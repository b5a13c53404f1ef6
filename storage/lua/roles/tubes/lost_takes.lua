-- Takes of batches that ended without a settlement: whoever was in them may have got the push. The store is told, so that
-- `explain` can name these people if nothing better becomes known of them. A healthy batch causes nothing here.

local batch_format = require('roles.tubes.batch_format')
local bit = require('bit')
local node_tubes = require('roles.tubes.node_tubes')
local outbox = require('roles.tubes.outbox')

local lost_takes = {}

-- As campaigns/id_set.py: pairs of a block of 64 ids and its bits.
local function pack(ids)
    local blocks, packed = {}, {}
    for _, id in ipairs(ids) do
        local block = math.floor(tonumber(id) / 64)
        blocks[block] = bit.bor(blocks[block] or 0ULL, bit.lshift(1ULL, tonumber(id) % 64))
    end
    for block, bits in pairs(blocks) do
        table.insert(packed, block)
        table.insert(packed, bits)
    end
    return packed
end

-- Inside the caller's transaction: a take of this task has ended without a result, and its pushes may be out.
function lost_takes.note(name, id, why)
    local channel, row = node_tubes.channel_of(name), box.space[name]:get(id)
    local data = channel ~= nil and row ~= nil and row[8] or nil
    local ids = data ~= nil and batch_format.ids(data) or nil
    if ids == nil or #ids == 0 then
        return
    end
    local none = setmetatable({}, {__serialize = 'map'})
    outbox.append({
        kind = 'settled', channel = channel, campaign = data[batch_format.CAMPAIGN],
        segment = data[batch_format.SEGMENT], seq = data[batch_format.SEQ],
        tallies = none, reasons = none, dead = {}, ended = {},
        answers = {{'unknown', why, tonumber(data[batch_format.ATTEMPT]) % batch_format.REFUSALS, #ids, pack(ids)}},
    })
end

-- The same, if an earlier take of this task ended so that nobody could say it: its session was lost, or its lease ran out.
function lost_takes.note_former(name, id)
    if box.space.tubes_taken:get({name, id}) ~= nil then
        lost_takes.note(name, id, 'its lease ended unsettled')
    end
end

return lost_takes
