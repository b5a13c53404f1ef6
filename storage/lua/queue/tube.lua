-- A tube: what callers hold. It adds to a driver (fifo, fifottl, a registered one) who owns a taken task, who waits,
-- what is counted and who is told.

local fiber = require('fiber')
local leases = require('queue.leases')
local session = require('queue.session')
local state = require('queue.state')
local statistics = require('queue.statistics')
local transaction = require('queue.transaction')
local waiters = require('queue.waiters')

local READY, TAKEN = 'r', 't'
local FOREVER = 365 * 86400 * 500   -- seconds

local tube = {}

local methods = {}
methods.__index = methods

-- Every change of a task comes through here, within the transaction that makes it.
local function on_task_change(self, task, event)
    if task == nil then
        return
    end
    if not self.raw.plain then
        task = self.raw:normalize_task(task)
    end
    local id, now = task[1], task[2]
    if event == 'take' then
        leases.add(self.tube_id, id, session.current())
    elseif event ~= 'put' and now ~= TAKEN then
        leases.remove(self.tube_id, id)
    end
    if now == READY then
        transaction.ready(self)
    else
        transaction.unready(self)
    end
    self.counters:add(event)
    if self.callback ~= nil then
        transaction.news(self, self.raw.plain and self.raw:normalize_task(task) or task, event)
    end
end

--- `row` is the tube's line in _queue: name, tube_id, space name, type, opts.
function tube.new(driver, row)
    local space = box.space[row[3]]
    local self = setmetatable({
        name = row[1], tube_id = row[2], type = row[4], opts = row[5],
        waiters = waiters.new(), counters = statistics.counters(), run = transaction.runner(space),
    }, methods)
    self.wake_one = function() self.waiters:wake(1) end
    self.wake_all = function() self.waiters:wake() end
    self.raw = driver.new(space, function(task, event) on_task_change(self, task, event) end, self.opts)
    return self
end

-- A missing row is no error inside the transaction, so that what else it did is kept: the caller raises afterwards.
local function found(self, task, id)
    if task == nil then
        error(('Task %s not found'):format(tostring(id)))
    end
    return self.raw:normalize_task(task)
end

local function check_taken(self, id)
    local mine = session.known()
    if mine == nil or not leases.owned(self.tube_id, id, mine) then
        error('Task was not taken')
    end
end

local function put(self, data, opts)
    return self.raw:put(data, opts or {})
end

function methods:put(data, opts)
    if not state.is_running('put') then
        return nil
    end
    local task = self.run(put, self, data, opts)
    return task and self.raw:normalize_task(task)
end

local function take(self)
    return self.raw:take()
end

--- The next ready task, waiting for one up to `timeout` seconds (for ever, when nil). Within a transaction it never
--- waits: waiting yields, and a yield would abort the transaction. No value when there is none, when the client has
--- gone or the instance has become read-only.
function methods:take(timeout)
    local now = fiber.clock()
    local deadline = now + math.min(tonumber(timeout or FOREVER), FOREVER)
    while state.is_running('take') and session.current() ~= nil do
        local task = self.run(take, self)
        if task ~= nil then
            return self.raw:normalize_task(task)
        end
        if fiber.clock() >= deadline or box.is_in_txn() then
            return
        end
        if not self.waiters:wait(deadline, box.session.id()) then
            return
        end
    end
end

local function touch(self, id, seconds)
    check_taken(self, id)
    return self.raw:touch(id, seconds)
end

function methods:touch(id, seconds)
    if not state.is_running('touch') or seconds == nil then
        return nil
    end
    seconds = math.min(tonumber(seconds) or error('touch: the time must be a number of seconds'), FOREVER)
    if seconds <= 0 then
        return nil
    end
    return found(self, self.run(touch, self, id, seconds), id)
end

local function ack(self, id)
    check_taken(self, id)
    leases.remove(self.tube_id, id)
    local task = self.raw:delete(id)
    if task ~= nil then
        self.counters:add('ack')
    end
    return task
end

function methods:ack(id)
    if not state.is_running('ack') then
        return nil
    end
    return found(self, self.run(ack, self, id), id)
end

local function release(self, id, opts)
    check_taken(self, id)
    leases.remove(self.tube_id, id)
    return self.raw:release(id, opts or {})
end

function methods:release(id, opts)
    if not state.is_running('release') then
        return nil
    end
    return found(self, self.run(release, self, id, opts), id)
end

function methods:peek(id)
    if not state.is_running('peek') then
        return nil
    end
    return found(self, self.raw:peek(id), id)
end

local function bury(self, id)
    return self.raw:bury(id)
end

function methods:bury(id)
    if not state.is_running('bury') then
        return nil
    end
    return found(self, self.run(bury, self, id), id)
end

local function delete(self, id)
    leases.remove(self.tube_id, id)
    return self.raw:delete(id)
end

function methods:delete(id)
    if not state.is_running('delete') then
        return nil
    end
    return found(self, self.run(delete, self, id), id)
end

local function kick(self, count)
    return self.raw:kick(count)
end

function methods:kick(count)
    if not state.is_running('kick') then
        return nil
    end
    return self.run(kick, self, count or 1)
end

-- A task may be gone although its lease is there, when somebody emptied the space by hand: the lease goes all the same.
local function give_back(self, id)
    leases.remove(self.tube_id, id)
    return self.raw:release(id, {})
end

--- Give back one taken task, whoever holds it. False when it could not be done now (no memory, say).
function tube.give_back(self, id)
    local ok = pcall(self.run, give_back, self, id)
    return ok
end

function methods:release_all()
    if not state.is_running('release_all') then
        return nil
    end
    for _, lease in ipairs(leases.of_tube(self.tube_id)) do
        self.run(give_back, self, lease.task_id)
    end
end

local function truncate(self)
    for _, lease in ipairs(leases.of_tube(self.tube_id)) do
        leases.remove(self.tube_id, lease.task_id)
    end
    self.raw:truncate()
end

function methods:truncate()
    if not state.is_running('truncate') then
        return nil
    end
    self.run(truncate, self)
end

--- Set the callback(task, event) and return the old one. It is called after the commit of the change, or, within a
--- caller's transaction, at once (where it must not yield).
function methods:on_task_change(callback)
    local old = self.callback
    self.callback = callback
    return old or function() end
end

return setmetatable(tube, {__index = {methods = methods}})
