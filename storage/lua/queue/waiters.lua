-- Those who wait in `take`, the one with the earliest deadline first.

local fiber = require('fiber')

local waiters = {}
waiters.__index = waiters

function waiters.new()
    return setmetatable({line = {}}, waiters)
end

function waiters:count()
    return #self.line
end

--- Wake `count` waiters that are still asleep (all, when nil).
function waiters:wake(count)
    for _, waiter in ipairs(self.line) do
        if count == 0 then
            return
        end
        if not waiter.woken then
            waiter.woken = true
            waiter.bell:signal()
            count = count and count - 1
        end
    end
end

--- The connection is gone: its waiters leave without a task.
function waiters:dismiss(connection)
    for _, waiter in ipairs(self.line) do
        if waiter.connection == connection then
            waiter.gone = true
            waiter.bell:signal()
        end
    end
end

local function enter(line, waiter)
    local place = #line + 1
    while place > 1 and line[place - 1].deadline > waiter.deadline do
        place = place - 1
    end
    table.insert(line, place, waiter)
end

local function leave(line, waiter)
    for place, other in ipairs(line) do
        if other == waiter then
            table.remove(line, place)
            return
        end
    end
end

--- Sleep until woken or until `deadline` (fiber.clock seconds). Returns false when the client is gone.
function waiters:wait(deadline, connection)
    local waiter = {deadline = deadline, connection = connection, bell = fiber.cond()}
    enter(self.line, waiter)
    waiter.bell:wait(math.max(deadline - fiber.clock(), 0))
    leave(self.line, waiter)
    local ok, failure = pcall(fiber.testcancel)     -- a cancelled fiber returns from its wait as if woken
    if ok and not waiter.gone then
        return true
    end
    -- Whoever was woken for a task and cannot take it hands the call on, else the task would lie there unseen.
    if waiter.woken then
        self:wake(1)
    end
    if not ok then
        error(failure, 0)
    end
    return false
end

return waiters
