-- One operation, one transaction: the caller's where there is one, else its own.
--
-- What must happen once the change is durable (waking a waiter, telling the tube's owner) is kept back until
-- the commit: a waiter woken earlier could look too soon, find nothing, and sleep on beside a ready task.

local fiber = require('fiber')
local log = require('log')

local transaction = {}

-- The operation that runs in a transaction of ours. Memtx aborts a transaction that yields, so there is only one
-- such operation at a time and a plain variable is enough.
local scope = nil

local function tell(tube, task, event)
    -- The change has happened: an owner's failing callback must not make it look undone.
    local ok, failure = pcall(tube.callback, task, event)
    if not ok then
        log.error('queue: on_task_change of tube "%s" failed: %s', tube.name, tostring(failure))
    end
end

local function publish(done)
    for tube, count in pairs(done.ready) do
        tube.waiters:wake(count)
    end
    for _, news in ipairs(done.news) do
        tell(news[1], news[2], news[3])
    end
end

--- A task of `tube` has turned ready: wake one waiter when that is committed.
function transaction.ready(tube)
    if scope ~= nil then
        scope.ready[tube] = (scope.ready[tube] or 0) + 1
    elseif box.is_in_txn() then
        box.on_commit(tube.wake_one)
    else
        tube.waiters:wake(1)
    end
end

--- A task of `tube` may have stopped being ready: should that be undone, somebody must look at it again.
function transaction.unready(tube)
    if scope ~= nil then
        scope.undo[tube] = true
    elseif box.is_in_txn() then
        box.on_rollback(tube.wake_all)
    end
end

--- Tell the tube's on_task_change callback: after our own commit, or at once within the caller's transaction.
function transaction.news(tube, task, event)
    if scope ~= nil then
        table.insert(scope.news, {tube, task, event})
    else
        tell(tube, task, event)
    end
end

--- Run `operation(...)` in one transaction and return its first result.
function transaction.run(operation, ...)
    if box.is_in_txn() then
        return operation(...)
    end
    local own = {ready = {}, undo = {}, news = {}}
    box.begin()
    scope = own
    local ok, result = pcall(operation, ...)
    scope = nil
    if not ok then
        box.rollback()
        error(result, 0)
    end
    local committed, failure = pcall(box.commit)
    if not committed then
        -- While the write was under way others saw the change, and went to sleep upon it.
        for tube in pairs(own.undo) do
            tube.waiters:wake()
        end
        error(failure, 0)
    end
    publish(own)
    return result
end

-- A tube whose engine is not memtx: its reads yield, and it shares no transaction with the leases, so operations on
-- it take turns instead.
local function in_turn(turn, operation, ...)
    local me = fiber.id()
    if turn.holder == me then
        return operation(...)   -- a callback of the operation
    end
    turn.door:put(true)
    turn.holder = me
    local ok, result = pcall(operation, ...)
    turn.holder = nil
    turn.door:get()
    if not ok then
        error(result, 0)
    end
    return result
end

local turns = {}    -- space id -> turn

--- How operations on `space` are to be run: a function like `transaction.run`.
function transaction.runner(space)
    if space.engine == 'memtx' then
        return transaction.run
    end
    local turn = turns[space.id] or {door = fiber.channel(1)}
    turns[space.id] = turn
    return function(operation, ...)
        return in_turn(turn, operation, ...)
    end
end

return transaction
