-- The fibers that wait in `take`, as a list: the earliest deadline first.

local fiber = require('fiber')

local waiters = {}
waiters.__index = waiters

--- Wake `count` waiters that are still asleep (all, when nil).
function waiters:wake(count)
    for _, waiter in ipairs(self) do
        if count == 0 then
            return
        elseif not waiter.woken then
            waiter.woken = true
            waiter.bell:signal()
            count = count and count - 1
        end
    end
end

--- The connection is gone: its waiters leave without a task.
function waiters:dismiss(connection)
    for _, waiter in ipairs(self) do
        if waiter.connection == connection then
            waiter.gone = true
            waiter.bell:signal()
        end
    end
end

local function place(self, waiter)
    for at, other in ipairs(self) do
        if other == waiter or other.deadline > waiter.deadline then
            return at
        end
    end
    return #self + 1
end

--- Sleep until woken or until `deadline` (fiber.clock seconds). Returns false when the client is gone.
function waiters:wait(deadline, connection)
    local waiter = {deadline = deadline, connection = connection, bell = fiber.cond()}
    table.insert(self, place(self, waiter), waiter)
    pcall(waiter.bell.wait, waiter.bell, math.max(deadline - fiber.clock(), 0)) -- from 2.10 on a cancelled fiber raises
    table.remove(self, place(self, waiter))
    local alive, failure = pcall(fiber.testcancel)  -- a cancelled fiber returns from its wait as if woken
    if waiter.woken and (waiter.gone or not alive) then
        self:wake(1)    -- a waiter that was woken for a task and cannot take it wakes the next one
    end
    if not alive then
        error(failure, 0)
    end
    return not waiter.gone
end

return waiters
