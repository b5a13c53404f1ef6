-- A tube: what callers hold. It adds to a driver (fifo, fifottl, a registered one) who owns a taken task, who waits,
-- what is counted and who is told.

local fiber = require('fiber')
local leases = require('queue.leases')
local session = require('queue.session')
local state = require('queue.state')
local statistics = require('queue.statistics')
local transaction = require('queue.transaction')
local waiters = require('queue.waiters')

local FOREVER = 365 * 86400 * 500   -- seconds

local methods = {}
methods.__index = methods

-- Every change of a task comes through here, within the transaction that makes it.
local function on_task_change(self, stored, event)
    local task = self.raw.plain and stored or self.raw:normalize_task(stored)
    if event == 'take' then
        leases.add(self.tube_id, task[1], session.current())
    elseif event ~= 'put' and task[2] ~= 't' then
        leases.remove(self.tube_id, task[1])
    end
    if task[2] == 'r' then
        transaction.ready(self)
    else
        transaction.unready(self)
    end
    self.counters:add(event)
    if self.callback ~= nil then
        transaction.news(self, self.raw:normalize_task(stored), event)
    end
end

local tube = {methods = methods}

--- `row` is the tube's line in _queue: name, tube_id, space name, type, opts.
function tube.new(driver, row)
    local space = box.space[row[3]]
    local self = setmetatable({
        name = row[1], tube_id = row[2], type = row[4], opts = row[5],
        waiters = waiters.new(), counters = statistics.counters(), run = transaction.runner(space),
    }, methods)
    self.wake_one = function() self.waiters:wake(1) end
    self.wake_all = function() self.waiters:wake() end
    self.raw = driver.new(space, function(task, event)
        if task ~= nil then
            on_task_change(self, task, event)
        end
    end, self.opts)
    if self.raw.watcher ~= nil then
        self.raw.watcher.run = function(...) return self:run(...) end
    end
    return self
end

-- A method that runs `operation` in a transaction and answers with what it returns; nil while not RUNNING.
local function method(name, operation)
    methods[name] = function(self, ...)
        if state.is_running(name) then
            return self:run(operation, ...)
        end
    end
end

-- The same for an operation on one task, which must be there.
local function task_method(name, operation)
    methods[name] = function(self, id, ...)
        if not state.is_running(name) then
            return nil
        end
        local task = self:run(operation, id, ...)
        if task == nil then
            error(('Task %s not found'):format(tostring(id)))
        end
        return self.raw:normalize_task(task)
    end
end

local function check_taken(self, id)
    if not leases.owned(self.tube_id, id, session.known()) then
        error('Task was not taken')
    end
end

local function attempt(self)
    local task = self.raw:take()
    return task and self.raw:normalize_task(task)
end

--- The next ready task, waiting for one up to `timeout` seconds (for ever, when nil). Within a transaction it never
--- waits: waiting yields, and a yield would abort the transaction. No value when there is none, when the client has
--- gone or the instance has become read-only.
function methods:take(timeout)
    local deadline = fiber.clock() + math.min(tonumber(timeout or FOREVER), FOREVER)
    while state.is_running('take') and session.current() ~= nil do
        local task = self:run(attempt)
        if task ~= nil then
            return task
        end
        if fiber.clock() >= deadline or box.is_in_txn() or not self.waiters:wait(deadline, box.session.id()) then
            return
        end
    end
end

method('put', function(self, data, opts)
    local task = self.raw:put(data, opts or {})
    return task and self.raw:normalize_task(task)
end)

method('kick', function(self, count)
    return self.raw:kick(count or 1)
end)

task_method('peek', function(self, id)
    return self.raw:peek(id)
end)

task_method('ack', function(self, id)
    check_taken(self, id)
    leases.remove(self.tube_id, id)
    self.counters:add('ack')
    return self.raw:delete(id)
end)

task_method('release', function(self, id, opts)
    check_taken(self, id)
    leases.remove(self.tube_id, id)
    return self.raw:release(id, opts or {})
end)

task_method('bury', function(self, id)
    return self.raw:bury(id)
end)

task_method('delete', function(self, id)
    leases.remove(self.tube_id, id)
    return self.raw:delete(id)
end)

task_method('extend', function(self, id, seconds)
    check_taken(self, id)
    return self.raw:touch(id, seconds)
end)

function methods:touch(id, seconds)
    seconds = tonumber(seconds or 0) or error('touch: the time must be a number of seconds')
    if seconds > 0 then
        return self:extend(id, math.min(seconds, FOREVER))
    end
end

-- Truncating by hand leaves leases of tasks that are gone: the lease goes all the same.
local function give_back(self, id)
    leases.remove(self.tube_id, id)
    return self.raw:release(id, {})
end

--- Give back a taken task, whoever holds it. False when that is impossible now (no memory, say).
function tube.give_back(self, id)
    return (pcall(self.run, self, give_back, id))
end

method('release_all', function(self)
    for _, lease in ipairs(leases.of_tube(self.tube_id)) do
        give_back(self, lease.task_id)
    end
end)

method('truncate', function(self)
    for _, lease in ipairs(leases.of_tube(self.tube_id)) do
        leases.remove(self.tube_id, lease.task_id)
    end
    self.raw:truncate()
end)

--- Set the callback(task, event) and return the old one. It is called after the commit of the change, or, within a
--- caller's transaction, at once (where it must not yield).
function methods:on_task_change(callback)
    local old = self.callback
    self.callback = callback
    return old or function() end
end

return tube
