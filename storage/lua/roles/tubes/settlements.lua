-- Settlements: putting a page's batches with its mark, and settling takes of batches. Each is one transaction, with the
-- outbox line that the store is owed.

local queue = require('queue')
local kept_pages = require('roles.kept_pages')
local memory = require('roles.memory')
local batch_format = require('roles.tubes.batch_format')
local lanes = require('roles.tubes.lanes')
local node_tubes = require('roles.tubes.node_tubes')
local outbox = require('roles.tubes.outbox')
local paced_campaigns = require('roles.tubes.paced_campaigns')
local state = require('roles.tubes.state')
local takes = require('roles.tubes.takes')

local settlements = {}

local A_MOMENT = 0.001 -- seconds by which a part makes a lease longer: the tubes' `touch` takes no 0

-- Return 'full' for Tarantool's error when its memory is used up.
local function unless_full(ok, ...)
    if ok then
        return ...
    end
    local err = (...)
    if memory.is_refusal(err) then
        return 'full'
    end
    error(err, 0)
end

-- Clause 4, `page_put`. batches: {{channel, delay in seconds, size, recipients (MessagePack), expires_at, window class,
-- begin_from, begin_until, lane}...}, the three before the lane 0 where no quiet hours hold, the lane nil for the middle
-- one; held: {zone, recipients}s; tallies: channel -> outcome -> n of the recipients that need no batch; ended: the ids of
-- these (campaigns/id_set.py). id, number: the baton's lease, which ends with the page. unsure: the recipients may have a
-- push from an owner that is lost. paced: the campaign's batches wait for a rate. kept: the name of a page whose rows are
-- here (kept_pages.lua): then recipients are a part's number in it. Returns 'put', 'marked' (was put before), 'fenced',
-- 'gone' (the page is not here any more: read it again), or 'full': nothing was written, because the memory is used up;
-- try again when settlements have freed some. After 'put' and 'marked' also whether the baton was ours and is acked.
function settlements.page_put(epoch, campaign, segment, seq, batches, recipients, tallies, ended, held, id, number,
                              unsure, paced, kept)
    local function finish(verdict, ...)
        if kept ~= nil and verdict ~= 'full' then
            kept_pages.drop(kept)
        end
        return verdict, ...
    end
    return finish(unless_full(pcall(memory.noticed, takes.with_taken, function(mine)
        if not state.leased() or state.get('epoch') ~= epoch then
            return 'fenced'
        end
        if box.space.tubes_marks:get({campaign, segment, seq}) ~= nil then
            return 'marked', takes.finish(mine, node_tubes.BATONS, id, number) ~= nil
        end
        if memory.full() then
            return 'full'
        end
        if kept ~= nil and not kept_pages.has(kept) then
            return 'gone'
        end
        for n, batch in ipairs(batches) do
            local rows = kept == nil and batch[4] or assert(kept_pages.part(kept, batch[4]))
            node_tubes.get(node_tubes.of_channel(batch[1])):put(
                batch_format.first(epoch, campaign, segment, seq, n, batch, rows, unsure),
                {delay = batch[2], pri = lanes.pri(batch[9])})
        end
        if paced then
            paced_campaigns.mark(campaign)
        end
        box.space.tubes_marks:insert({campaign, segment, seq})
        outbox.append({kind = 'enqueued', campaign = campaign, segment = segment, seq = seq,
                       recipients = recipients, tallies = setmetatable(tallies, {__serialize = 'map'}), ended = ended,
                       held = #held > 0 and held or nil})
        return 'put', takes.finish(mine, node_tubes.BATONS, id, number) ~= nil
    end)))
end

local function owe(channel, name_of, task, line)
    line.kind, line.channel = 'settled', channel
    line.campaign = name_of(task, batch_format.CAMPAIGN)
    line.segment = name_of(task, batch_format.SEGMENT)
    line.seq = name_of(task, batch_format.SEQ)
    outbox.append(line)
end

-- Settle a part of a taken task: who is settled leaves it, and the others stay taken, with their lease. left: {size
-- before, size now, recipients}. Each part makes the task smaller, so its size tells a part that is repeated because its
-- answer was lost: then nothing is written. Returns whether the task is still ours.
local function settle_part(mine, channel, name, id, number, line, left)
    if not mine(name, id, number) then
        return false
    end
    local before, size, recipients = unpack(left, 1, 3)
    local row = box.space[name]:get(id)
    if row ~= nil and tonumber(batch_format.of_row(row, batch_format.SIZE)) == before then
        batch_format.shrink(box.space[name], id, size, recipients)
        owe(channel, batch_format.of_row, row, line)
    end
    queue.tube[name]:touch(id, A_MOMENT) -- an error if this session has lost it: then all of this is undone
    return true
end

-- Clause 7. settlements: {{id, number, line, remainders, left}...} with remainders {{delay, attempt, size, recipients}...};
-- `left`: see `settle_part`; nil if all of the batch is settled. Returns a boolean each: false means that the task is not
-- ours any more, and nothing of it was written.
function settlements.settle(channel, list)
    local name = node_tubes.of_channel(channel)
    return takes.with_taken(function(mine)
        local answers = {}
        for i, settlement in ipairs(list) do
            local id, number, line, remainders, left = unpack(settlement, 1, 5)
            if left ~= nil then
                answers[i] = settle_part(mine, channel, name, id, number, line, left)
            else
                local task = takes.finish(mine, name, id, number)
                if task ~= nil then
                    for p, rest in ipairs(remainders) do
                        queue.tube[name]:put(
                            batch_format.remainder(task, number, p, rest[2], rest[3], rest[4]),
                            {delay = rest[1], pri = lanes.pri(batch_format.of(task, batch_format.LANE))})
                    end
                    owe(channel, batch_format.of, task, line)
                end
                answers[i] = task ~= nil
            end
        end
        return answers
    end)
end

return settlements
