-- Where one recipient's push lies on this node's tubes: for the question why a phone has not got it yet.

local fiber = require('fiber')
local batch_format = require('roles.tubes.batch_format')
local node_tubes = require('roles.tubes.node_tubes')
local poison_counters = require('roles.tubes.poison_counters')

local whereabouts = {}

local A_STEP = 500 -- tasks looked at between two yields
local STATES = {r = 'ready', t = 'taken', ['~'] = 'delayed', ['!'] = 'buried'}

local function has(data, id)
    for _, each in ipairs(batch_format.ids(data) or {}) do
        if each == id then
            return true
        end
    end
    return false
end

-- {state, n, attempt, until when it waits (ms UTC; 0: it does not), why it is buried} of the batch.
local function described(state, data, til, why)
    return {state, data[batch_format.N], data[batch_format.ATTEMPT], til, why}
end

local function parked(channel, campaign, segment, seq, id)
    for _, row in ipairs(box.space.tubes_parked.index.campaign:select({campaign})) do
        local data = row.data
        if row.tube == node_tubes.of_channel(channel) and data[batch_format.SEGMENT] == segment
            and data[batch_format.SEQ] == seq and has(data, id) then
            return described('parked', data, 0, '')
        end
    end
end

-- The batch of a page that has this recipient; nil: none here has.
function whereabouts.batch_of(channel, campaign, segment, seq, id)
    local name = node_tubes.of_channel(channel)
    local space, after = box.space[name], nil
    while space ~= nil do
        local rows = space:select(after, {iterator = after == nil and 'ALL' or 'GT', limit = A_STEP})
        for _, row in ipairs(rows) do
            after = {row[1]}
            if batch_format.of_row(row, batch_format.SEQ) == seq
                and batch_format.of_row(row, batch_format.SEGMENT) == segment
                and batch_format.of_row(row, batch_format.CAMPAIGN) == campaign then
                local data = row[8]
                if has(data, id) then
                    local til = row[2] == '~' and math.floor(tonumber(row[3]) / 1000) or 0
                    return described(STATES[row[2]] or row[2], data, til, poison_counters.get(name, row[1]).why)
                end
            end
        end
        if #rows < A_STEP then
            break
        end
        fiber.yield()
    end
    return parked(channel, campaign, segment, seq, id)
end

return whereabouts
