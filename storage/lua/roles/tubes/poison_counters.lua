-- Poison counters: how often a task's handler has crashed, and how many takes of it ended without a result, neither in
-- a settlement nor in an orderly return. Written in the transaction that ends the take, durable, and deleted with the
-- task. A healthy task has no row here.

local workers = require('roles.tubes.workers')

local poison_counters = {}

poison_counters.CRASHES = 3 -- crashes counted against a task until it is buried
poison_counters.ENDS = 5    -- takes that ended without a result until it is buried
local APART = 0.5    -- seconds between counted tasks that come back together

-- {crashes, why, ends, sent}; sent: nil if unknown.
function poison_counters.get(name, id)
    local row = box.space.tubes_poison_counters:get({name, id})
    if row == nil then
        return {crashes = 0, why = '', ends = 0}
    end
    return {crashes = row.crashes, why = row.why, ends = row.ends, sent = row.sent}
end

function poison_counters.put(name, id, known)
    box.space.tubes_poison_counters:replace({name, id, known.crashes, known.why, known.ends, known.sent})
end

-- The task has left its tube; the next one with its id starts without a counter. Returns the row, if there was one.
function poison_counters.forget(name, id)
    box.space.tubes_taken:delete({name, id})
    return box.space.tubes_poison_counters:delete({name, id})
end

-- Count a take that ended without a result. Returns how many have.
function poison_counters.count_end(name, id, why)
    local known = poison_counters.get(name, id)
    known.ends = known.ends + 1
    known.why = known.why == '' and why or known.why
    poison_counters.put(name, id, known)
    return known.ends
end

-- Seconds until a task that comes back may go out: at once the first time. Later it comes back apart from the other
-- tasks of the same worker: the poison one should be alone the next time, with the others settled by then.
function poison_counters.delay(ends, place)
    return ends > 1 and ends < poison_counters.ENDS and APART * place * 2 ^ (ends - 2) or 0
end

-- Do not count the coming end of the takes that this worker holds, of a tube or of all: the crash was counted against
-- another task, or the worker is being stopped in order.
function poison_counters.excuse(worker, name)
    for _, row in ipairs(box.space.tubes_taken.index.worker:select(name and {worker, name} or {worker})) do
        box.space.tubes_taken:replace({row.tube, row.id, row.number, row.worker, row.poll, true, row.life})
    end
end

-- Inside the transaction that has just taken this task. A row of an earlier take is still here if that take ended
-- without a result: its lease ran out while its worker was alive, or its session was lost, which does not count.
-- Returns the counter if the limit is reached.
function poison_counters.over_limit(name, id)
    local former = box.space.tubes_taken:get({name, id})
    if former ~= nil and not former.excused and workers.still_here(former.worker, former.life) then
        poison_counters.count_end(name, id, 'its lease ran out in the hands of ' .. former.worker)
    end
    local known = poison_counters.get(name, id)
    return known.ends >= poison_counters.ENDS and known or nil
end

return poison_counters
