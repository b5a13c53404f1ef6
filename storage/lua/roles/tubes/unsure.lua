-- Recipients who may have a push although no answer to it is known: their batch's take ended without a settlement while
-- pushes of it may have been under way. The ledger counts them under `unsure` until their outcome is settled, so that a
-- campaign's cut line can say how many may have it. A batch remembers that its recipients are counted.

local bit = require('bit')
local atomic = require('roles.atomic')
local batch_format = require('roles.tubes.batch_format')
local node_tubes = require('roles.tubes.node_tubes')
local outbox = require('roles.tubes.outbox')

local unsure = {}

-- Whether a task's recipients are counted as unsure.
function unsure.is(attempt)
    return tonumber(attempt) >= batch_format.UNSURE
end

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

-- Who they are, for the ledger (roles/store/answers.lua); nil: the batch cannot be read.
local function unanswered(data)
    local ids = batch_format.ids(data)
    if ids ~= nil and #ids > 0 then
        local try = tonumber(data[batch_format.ATTEMPT]) % batch_format.REFUSALS
        return {'unknown', 'its take ended without an answer', try, #ids, pack(ids)}
    end
end

-- Inside the caller's transaction: a take of this task has ended without a settlement. Returns whether this was not
-- known yet.
function unsure.mark(name, id)
    local channel = node_tubes.channel_of(name)
    local row = channel and box.space[name]:get(id) or nil
    local attempt = row and batch_format.of_row(row, batch_format.ATTEMPT) or nil
    if type(attempt) ~= 'number' or unsure.is(attempt) then
        return false
    end
    batch_format.count_unsure(box.space[name], id)
    outbox.append({
        kind = 'settled', channel = channel, campaign = batch_format.of_row(row, batch_format.CAMPAIGN),
        segment = batch_format.of_row(row, batch_format.SEGMENT), seq = batch_format.of_row(row, batch_format.SEQ),
        tallies = {unsure = batch_format.of_row(row, batch_format.SIZE)},
        reasons = setmetatable({}, {__serialize = 'map'}), dead = {}, ended = {}, answers = {unanswered(row[8])},
    })
    return true
end

local A_STEP = 50 -- batches marked in one transaction

-- Mark tasks {tube, id}, in small steps.
function unsure.mark_all(tasks)
    for from = 1, #tasks, A_STEP do
        atomic(function()
            for i = from, math.min(from + A_STEP - 1, #tasks) do
                unsure.mark(tasks[i][1], tasks[i][2])
            end
        end)
    end
end

return unsure
