-- One operation, one transaction: the caller's if there is one, else its own.
--
-- Waking a waiter and calling the tube's callback wait for the commit: a waiter woken earlier could look too soon, find
-- nothing, and go on sleeping although a task is ready.

local log = require('log')

local transaction = {}

local function tell(tube, task, event)
    if tube.callback ~= nil then
        -- the change has happened: a failing callback must not make it look undone
        local ok, failure = pcall(tube.callback, tube.raw:normalize_task(task), event)
        if not ok then
            log.error('queue: on_task_change of tube "%s" failed: %s', tube.name, failure)
        end
    end
end

--- A task of `tube` has changed within the current transaction. In a caller's transaction the callback is called at
--- once, as part of it; if the change is rolled back, all waiters look again.
function transaction.changed(tube, task, event)
    if tube.news ~= nil then
        table.insert(tube.news, task)
        table.insert(tube.news, event)
        return
    elseif task[2] == 'r' then
        box.on_commit(function() tube.wake_one() end) -- a new one each time: Tarantool 3 keeps the same one once
    else
        box.on_rollback(tube.wake_all)
    end
    tell(tube, task, event)
end

local function finish(tube, ok)
    if tube.door ~= nil then
        tube.door:get()
    elseif ok then
        box.commit()
    else
        box.rollback()
    end
end

--- Run operation(tube, ...) and return its result. A tube with a `door` is not in memtx: it reads with yields, and it
--- shares no transaction with the leases. So its operations take turns instead.
function transaction.run(tube, operation, ...)
    if box.is_in_txn() then
        return operation(tube, ...)
    elseif tube.door ~= nil then
        tube.door:put(true)
    else
        box.begin()
    end
    local news = {}
    tube.news = news    -- no other operation on this tube runs until it is done
    local ok, result = pcall(operation, tube, ...)
    tube.news = nil
    local finished, failure = pcall(finish, tube, ok)
    if not (ok and finished) then
        tube.wake_all()     -- others saw the change before it failed, and went to sleep because of it
        error(ok and failure or result, 0)
    end
    for i = 1, #news, 2 do
        if news[i][2] == 'r' then
            tube.wake_one()
        end
        tell(tube, news[i], news[i + 1])
    end
    return result
end

return transaction
