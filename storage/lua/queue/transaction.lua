-- One operation, one transaction: the caller's where there is one, else its own.
--
-- What must happen once the change is durable (waking a waiter, telling the tube's owner) is kept back until the
-- commit: a waiter woken earlier could look too soon, find nothing, and sleep on beside a ready task.

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
        log.error('queue: on_task_change of tube "%s" failed: %s', tube.name, failure)
    end
end

--- A task of `tube` has turned ready: wake one waiter when that is committed.
function transaction.ready(tube)
    if scope ~= nil then
        scope.ready = scope.ready + 1
    elseif box.is_in_txn() then
        box.on_commit(tube.wake_one)
    else
        tube.wake_one()
    end
end

--- A task of `tube` may have stopped being ready: should that be undone, somebody must look at it again.
function transaction.unready(tube)
    if scope == nil and box.is_in_txn() then
        box.on_rollback(tube.wake_all)
    end
end

--- Tell the tube's on_task_change callback: after our own commit, or at once within the caller's transaction.
function transaction.news(tube, task, event)
    if scope ~= nil then
        table.insert(scope, {task, event})
    else
        tell(tube, task, event)
    end
end

--- Run `operation(tube, ...)` in one transaction and return its result.
local function atomic(tube, operation, ...)
    if box.is_in_txn() then
        return operation(tube, ...)
    end
    local own = {ready = 0}
    box.begin()
    scope = own
    local ok, result = pcall(operation, tube, ...)
    scope = nil
    if not ok then
        box.rollback()
        error(result, 0)
    end
    local committed, failure = pcall(box.commit)
    if not committed then
        tube.wake_all()     -- while the write was under way others saw the change, and went to sleep upon it
        error(failure, 0)
    end
    if own.ready > 0 then
        tube.waiters:wake(own.ready)
    end
    for _, news in ipairs(own) do
        tell(tube, news[1], news[2])
    end
    return result
end

-- A tube whose engine is not memtx: its reads yield, and it shares no transaction with the leases, so operations on
-- it take turns instead. A callback within an operation is part of it.
local function in_turn(tube, operation, ...)
    tube.turn = tube.turn or {door = fiber.channel(1)}
    if tube.turn.holder == fiber.id() then
        return operation(tube, ...)
    end
    tube.turn.door:put(true)
    tube.turn.holder = fiber.id()
    local ok, result = pcall(operation, tube, ...)
    tube.turn.holder = nil
    tube.turn.door:get()
    if not ok then
        error(result, 0)
    end
    return result
end

--- How operations on a tube in `space` are run: run(tube, operation, ...).
function transaction.runner(space)
    return space.engine == 'memtx' and atomic or in_turn
end

return transaction
