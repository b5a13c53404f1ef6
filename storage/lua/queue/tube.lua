-- A tube: the object that callers use. To a driver (fifo, fifottl, a registered one) it adds the owners of taken tasks,
-- waiters, counters and the callback.
--
-- Ownership is kept in a temporary space and not in a Lua table, so that a rollback of a take, ack or release rolls
-- back the ownership, too.

local fiber = require('fiber')
local session = require('queue.session')
local state = require('queue.state')
local transaction = require('queue.transaction')
local waiters = require('queue.waiters')

local FOREVER = 365 * 86400 * 500   -- seconds
local BURST = 1000                  -- tasks given back in one transaction
local STATES = {ready = 'r', taken = 't', buried = '!', delayed = '~', done = '-'}

local tube = {run = transaction.run}
tube.__index = tube

local function leases()
    return box.space._queue_leases
end

-- Every change of a task comes through here, within the transaction that makes it.
local function on_task_change(self, task, event)
    if event == 'take' then
        leases():replace{self.tube_id, task[1], session.identify()}
    elseif event ~= 'put' and task[2] ~= 't' then
        leases():delete{self.tube_id, task[1]}
    end
    self.calls[event] = (self.calls[event] or 0) + 1
    self.done = self.done + (event == 'delete' and 1 or 0)  -- an ack arrives as a delete
    transaction.changed(self, task, event)
end

--- `row` is the tube's row in _queue: name, tube_id, space name, type, opts.
function tube.new(driver, row)
    local space = box.space[row[3]]
    local self = setmetatable({
        name = row[1], tube_id = row[2], type = row[4], opts = row[5], done = 0,
        door = space.engine ~= 'memtx' and fiber.channel(1) or nil,
        calls = {ack = 0, bury = 0, delay = 0, delete = 0, kick = 0, put = 0, release = 0, take = 0, touch = 0, ttl = 0,
                 ttr = 0},
        waiters = setmetatable({}, waiters),
    }, tube)
    function self.wake_one() self.waiters:wake(1) end
    function self.wake_all() self.waiters:wake() end
    self.raw = driver.new(space, function(task, event)
        if task ~= nil then
            on_task_change(self, task, event)
        end
    end, self.opts, function(f, ...)
        return self:run(function(_, ...) return f(...) end, ...)
    end)
    return self
end

-- The methods below are run in a transaction; they return nil while the queue is not RUNNING.
local operations = {}

local function found(id, task)
    return task or error(('Task %s not found'):format(tostring(id)))
end

local function check_taken(self, id)
    local lease = leases():get{self.tube_id, id}
    if lease == nil or lease[3] ~= session.known() then
        error('Task was not taken')
    end
end

function operations.put(self, data, opts)
    return self.raw:put(data, opts or {})
end

function operations.peek(self, id)
    return found(id, self.raw:peek(id))
end

function operations.ack(self, id)
    check_taken(self, id)
    local task = found(id, self.raw:delete(id))
    self.calls.ack, self.calls.delete = self.calls.ack + 1, self.calls.delete - 1   -- counted as an ack only
    return task
end

function operations.release(self, id, opts)
    check_taken(self, id)
    return found(id, self.raw:release(id, opts or {}))
end

function operations.touch(self, id, seconds)
    seconds = math.min(tonumber(seconds or 0) or error('touch: the time must be a number of seconds'), FOREVER)
    if seconds <= 0 then
        return nil
    end
    check_taken(self, id)
    return found(id, self.raw:touch(id, seconds))
end

function operations.bury(self, id)
    local task = found(id, self.raw:peek(id))
    return task[2] == '!' and task or self.raw:bury(id)
end

function operations.delete(self, id)
    return found(id, self.raw:delete(id))
end

function operations.kick(self, count)
    return self.raw:kick(count or 1)
end

function operations.truncate(self)
    for _, lease in ipairs(leases().index.task:select{self.tube_id}) do
        leases():delete{self.tube_id, lease.task_id}
    end
    self.raw:truncate()
end

for name, operation in pairs(operations) do
    tube[name] = function(self, ...)
        if state.is_running(name) then
            local answer = self:run(operation, ...)
            return type(answer) == 'cdata' and self.raw:normalize_task(answer) or answer
        end
    end
end

local function take(self)
    return self.raw:take()
end

--- The next ready task, waiting for one up to `timeout` seconds (for ever, when nil). Within a transaction it never
--- waits: waiting yields, and a yield would abort the transaction. Returns nothing if there is none, if the client has
--- gone or the instance has become read-only.
function tube:take(timeout)
    local deadline = fiber.clock() + math.min(tonumber(timeout or FOREVER), FOREVER)
    while state.is_running('take') and session.identify() ~= nil do
        local task = self:run(take)
        if task ~= nil then
            return self.raw:normalize_task(task)
        end
        if fiber.clock() >= deadline or box.is_in_txn() or not self.waiters:wait(deadline, box.session.id()) then
            return
        end
    end
end

local function give_back(self, id)
    leases():delete{self.tube_id, id}   -- even if the task is gone because its space was truncated by hand
    return self.raw:release(id, {})
end

local function give_back_some(self)
    local ids = {}
    for _, task in self.raw:tasks_by_state('t') do
        table.insert(ids, task[1])
        if #ids == BURST then
            break
        end
    end
    for _, id in ipairs(ids) do
        give_back(self, id)
    end
    return #ids
end

--- Give back a taken task, whichever session holds it. False if that is impossible now (no memory, say).
function tube:give_back(id)
    return (pcall(self.run, self, give_back, id))
end

function tube:give_back_all()
    while self:run(give_back_some) == BURST do end
end

function tube:release_all()
    if state.is_running('release_all') then
        self:give_back_all()
    end
end

--- Set the callback(task, event) and return the old one. It is called after the commit of the change, or, within a
--- caller's transaction, at once (where it must not yield).
function tube:on_task_change(callback)
    local old = self.callback
    self.callback = callback
    return old or function() end
end

--- {tasks = {...}, calls = {...}}. Calls, and the tasks that are done, are counted in memory: from zero in each process,
--- including those of a transaction that is rolled back. Other tasks are counted in the space, by the index that the
--- rock counts by, so they are always right. Their `total` is the sum of all states, with the done tasks that a driver
--- keeps; fifo and fifottl keep none. It is not the space's length, which for vinyl is only an estimate.
function tube:statistics()
    local by_state = box.space[self.name].index[1]
    local tasks = {total = 0}
    for name, code in pairs(STATES) do
        tasks[name] = by_state and by_state:count{code} or 0
        tasks.total = tasks.total + tasks[name]
    end
    tasks.done = self.done
    return {tasks = tasks, calls = table.copy(self.calls)}
end

return tube
