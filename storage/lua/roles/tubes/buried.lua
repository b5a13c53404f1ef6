-- Buried tasks: set aside until a person looks at them, or until their news expires. Other tasks that nobody takes end
-- here too when their news expires.

local queue = require('queue')
local atomic = require('roles.atomic')
local batch_format = require('roles.tubes.batch_format')
local lanes = require('roles.tubes.lanes')
local node_tubes = require('roles.tubes.node_tubes')
local paused_campaigns = require('roles.tubes.paused_campaigns')
local outbox = require('roles.tubes.outbox')
local state = require('roles.tubes.state')
local poison_counters = require('roles.tubes.poison_counters')
local unsure = require('roles.tubes.unsure')

local buried = {}

local A_STEP = 50     -- tasks looked at in one transaction
local LOOKED_AT = 5000 -- tasks of a state and lane, the oldest first: most expired ones are among them
local LATE = 5000     -- ms for a running channel to end expired batches by itself
local REASON = 40     -- characters of a bury reason that go into the campaign's reasons

-- How many recipients a batch has; 0 if that cannot be read.
local function size_of(data)
    local size = type(data) == 'table' and data[batch_format.SIZE]
    return type(size) == 'number' and size or 0
end

-- Inside the caller's transaction, which holds the task. `sent`: whether pushes of it may have gone out.
function buried.bury(name, id, known, sent)
    if sent then
        unsure.mark(name, id)
    end
    local task = queue.tube[name]:bury(id)
    box.space.tubes_taken:delete({name, id})
    known.sent = sent and task ~= nil and size_of(task[3]) or 0
    poison_counters.put(name, id, known)
end

-- Call f(id) for the tasks of a tube in one state (and one lane, by its pri), the oldest of a lane first, until it
-- returns false.
local function each(name, task_state, f, pri)
    for _, row in box.space[name].index[1]:pairs({task_state, pri}) do
        if f(row[1]) == false then
            return
        end
    end
end

-- Up to `limit` buried tasks behind the one with `pri` and `after` (nil: all): {id, data, crashes, why, how many
-- recipients may have been sent to, pri} each, the oldest of a lane first.
function buried.list(name, limit, pri, after)
    local list = {}
    local from = after == nil and {'!'} or {'!', pri, after}
    for _, row in box.space[name].index[1]:pairs(from, {iterator = after == nil and 'GE' or 'GT'}) do
        if #list >= limit or row[2] ~= '!' then
            break
        end
        local id = row[1]
        local data, known = queue.tube[name]:peek(id)[3], poison_counters.get(name, id)
        local sent = known.sent or known.crashes > 0 and size_of(data) or 0
        table.insert(list, {id, data, known.crashes, known.why, sent, row[6]})
    end
    return list
end

-- Bring up to `count` buried tasks back, without their poison counters; returns how many.
function buried.kick(name, count)
    return atomic(function()
        local n = 0
        each(name, '!', function(id)
            if n >= count then
                return false
            end
            box.space.tubes_poison_counters:delete({name, id})
            n = n + 1
        end)
        return queue.tube[name]:kick(count)
    end)
end

-- Delete the oldest, until no more than `most` are left.
function buried.keep(name, most)
    local ids = {}
    each(name, '!', function(id)
        table.insert(ids, id)
    end)
    atomic(function()
        for i = 1, #ids - most do
            queue.tube[name]:delete(ids[i])
            poison_counters.forget(name, ids[i])
        end
    end)
end

-- The reason in the campaign's report: the first words of the text it was buried with.
local function reason(why)
    local word = why:match('^[%w_ ]+')
    return 'buried: ' .. (word and word:sub(1, REASON) or 'no reason')
end

local function settled_line(channel, data, ids, outcome, why)
    local first, last = ids[1] or 0, ids[1] or 0
    for _, id in ipairs(ids) do
        first, last = id < first and id or first, id > last and id or last
    end
    local line = {
        kind = 'settled', channel = channel, campaign = data[batch_format.CAMPAIGN],
        segment = data[batch_format.SEGMENT], seq = data[batch_format.SEQ],
        tallies = {[outcome] = #ids, unsure = unsure.is(data[batch_format.ATTEMPT]) and -#ids or nil}, reasons = {[why] = #ids}, dead = {}, first = first, last = last, left = {},
    }
    if data[batch_format.N] < 0 then
        line.ids = ids -- a remainder: its range of ids also covers others
    end
    return line
end

-- End up to `limit` of a channel's batches in one state, and report them to the ledger. `now` (ms UTC): only batches of
-- expired news, and not of a paused campaign; nil: all, and unreadable ones are deleted. Returns how many batches and
-- how many recipients.
local function finish(channel, task_state, now, limit)
    local name = node_tubes.of_channel(channel)
    local batches, recipients, ids, looked = 0, 0, {}, 0
    local function look(id)
        looked = looked + 1
        if #ids >= limit or looked > LOOKED_AT then
            return false
        end
        local row = box.space[name]:get(id)
        local expires = batch_format.of_row(row, batch_format.EXPIRES_AT)
        if now == nil or (batch_format.is_unsigned(expires) and expires <= now
            and not paused_campaigns.is_paused(batch_format.of_row(row, batch_format.CAMPAIGN))) then
            table.insert(ids, id)
        end
    end
    for _, pri in ipairs(lanes.IN_ORDER) do
        looked = 0
        each(name, task_state, look, pri)
    end
    for from = 1, #ids, A_STEP do
        local work = {}
        for i = from, math.min(from + A_STEP - 1, #ids) do
            local row = box.space[name]:get(ids[i]) -- read again: it may have changed during an earlier step's commit
            if row ~= nil and row[2] == task_state then
                local data = queue.tube[name]:peek(ids[i])[3]
                table.insert(work, {id = ids[i], data = data, who = batch_format.ids(data), why = poison_counters.get(name, ids[i]).why})
            end
        end
        atomic(function()
            for _, batch in ipairs(work) do
                if batch.who ~= nil or now == nil then
                    queue.tube[name]:delete(batch.id)
                    poison_counters.forget(name, batch.id)
                    batches, recipients = batches + 1, recipients + #(batch.who or {})
                    if batch.who ~= nil and task_state == '!' then
                        outbox.append(settled_line(channel, batch.data, batch.who, 'rejected', reason(batch.why)))
                    elseif batch.who ~= nil then
                        outbox.append(settled_line(channel, batch.data, batch.who, 'expired', 'expired on the tube'))
                    end
                end
            end
        end)
    end
    return batches, recipients
end

-- A person ends buried batches: their recipients are rejected.
function buried.finish(channel, limit)
    return finish(channel, '!', nil, limit)
end

-- End expired batches on every channel: buried ones, and ones that nobody takes because their channel stands still.
function buried.expire(now, limit)
    local batches, recipients = 0, 0
    if not state.leased() then
        return batches, recipients
    end
    for _, name in ipairs(queue.tube()) do
        local channel = node_tubes.channel_of(name)
        for task_state, by in pairs(channel and {['!'] = now, r = now - LATE, ['~'] = now - LATE} or {}) do
            local b, r = finish(channel, task_state, by, limit)
            batches, recipients = batches + b, recipients + r
        end
    end
    return batches, recipients
end

return buried
