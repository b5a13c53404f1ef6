-- The queue with priorities, delays and times to live and to run. Times are microseconds of the wall clock.
-- Tuple: [id, state, next_event, ttl, ttr, pri, created, data], as the queue rock stores it.

local fiber = require('fiber')
local watcher = require('queue.watcher')

local READY, TAKEN, DONE, BURIED, DELAYED = 'r', 't', '-', '!', '~'
local ID, STATE, NEXT_EVENT, TTL, TTR, CREATED = 1, 2, 3, 4, 5, 7
local FOREVER = 365 * 86400 * 500 * 1000000     -- 500 years

local fifottl = {}

local methods = {plain = true}
methods.__index = methods

function fifottl.create_space(name, opts)
    local space = box.schema.space.create(name, {
        temporary = opts.temporary,
        engine = opts.engine,
        format = {
            {'task_id', 'unsigned'}, {'status', 'string'}, {'next_event', 'unsigned'}, {'ttl', 'unsigned'},
            {'ttr', 'unsigned'}, {'pri', 'number'}, {'created', 'unsigned'}, {'data', '*'},
        },
    })
    space:create_index('task_id', {type = 'tree', parts = {1, 'unsigned'}})
    space:create_index('status', {type = 'tree', parts = {2, 'string', 6, 'number', 1, 'unsigned'}})
    space:create_index('watch', {type = 'tree', parts = {2, 'string', 3, 'unsigned'}, unique = false})
    return space
end

function fifottl.new(space, on_task_change, opts)
    local self = setmetatable({space = space, on_task_change = on_task_change, opts = opts}, methods)
    self.watcher = watcher.new(space, function(state) return self:expire(state) end)
    return self
end

local function now()
    return tonumber(fiber.time64())
end

local function span(seconds)
    seconds = tonumber(seconds)
    if seconds == nil or seconds ~= seconds then
        error('a time must be a number of seconds')
    end
    return math.min(math.floor(math.max(seconds, 0) * 1000000), FOREVER)
end

local function death(task)
    return tonumber(task[CREATED]) + tonumber(task[TTL])
end

local function is_delay(opts)
    return opts ~= nil and opts.delay ~= nil and opts.delay > 0
end

function methods.normalize_task(_, task)
    return task ~= nil and task:transform(3, 5) or nil
end

local function update(self, id, changes, event)
    local task = self.space:update(id, changes)
    if task ~= nil then
        self.watcher:notice(tonumber(task[NEXT_EVENT]))
        self.on_task_change(task, event)
    end
    return task
end

local function remove(self, id, event)
    local task = self.space:delete(id)
    if task ~= nil then
        task = task:update{{'=', STATE, DONE}}
        self.on_task_change(task, event)
    end
    return task
end

local function to_ready(self, task, event)
    return update(self, task[ID], {{'=', STATE, READY}, {'=', NEXT_EVENT, death(task)}}, event)
end

function methods:put(data, opts)
    opts = opts or {}
    local ttl = span(opts.ttl or self.opts.ttl or FOREVER)
    local ttr = opts.ttr or self.opts.ttr
    ttr = ttr and span(ttr) or ttl
    local pri = opts.pri or self.opts.pri or 0
    local created = now()
    local state, next_event = READY, created + ttl
    if is_delay(opts) then
        local delay = span(opts.delay)
        state, next_event, ttl = DELAYED, created + delay, ttl + delay
    end
    if data == nil then
        data = box.NULL
    end
    local last = self.space.index.task_id:max()
    local id = last and last[ID] + 1 or 0
    local task = self.space:insert{id, state, next_event, ttl, ttr, pri, created, data}
    self.watcher:notice(next_event)
    self.on_task_change(task, 'put')
    return task
end

-- The watcher removes what has expired, but it may be late: `take` does not hand it out.
local function first_alive(self, at)
    local status = self.space.index.status
    local task = status:min{READY}
    if task == nil or task[NEXT_EVENT] > at then
        return task
    end
    for _, other in status:pairs{READY} do
        if other[NEXT_EVENT] > at then
            return other
        end
    end
    return nil
end

function methods:take()
    local at = now()
    local task = first_alive(self, at)
    if task == nil then
        return nil
    end
    -- A task is not held beyond its life, however long its ttr.
    local next_event = math.min(at + tonumber(task[TTR]), death(task))
    return update(self, task[ID], {{'=', STATE, TAKEN}, {'=', NEXT_EVENT, next_event}}, 'take')
end

function methods:touch(id, seconds)
    local more = span(seconds)
    return update(self, id, {{'+', NEXT_EVENT, more}, {'+', TTL, more}, {'+', TTR, more}}, 'touch')
end

function methods:delete(id)
    return remove(self, id, 'delete')
end

function methods:release(id, opts)
    local task = self.space:get{id}
    if task == nil then
        return nil
    end
    if not is_delay(opts) then
        return to_ready(self, task, 'release')
    end
    local delay = span(opts.delay)
    return update(self, id, {{'=', STATE, DELAYED}, {'=', NEXT_EVENT, now() + delay}, {'+', TTL, delay}}, 'release')
end

function methods:bury(id)
    local task = self.space:get{id}
    if task == nil then
        return nil
    end
    return update(self, id, {{'=', STATE, BURIED}, {'=', NEXT_EVENT, death(task)}}, 'bury')
end

function methods:kick(count)
    for kicked = 0, count - 1 do
        local task = self.space.index.status:min{BURIED}
        if task == nil then
            return kicked
        end
        to_ready(self, task, 'kick')
    end
    return count
end

function methods:peek(id)
    return self.space:get{id}
end

function methods:tasks_by_state(state)
    return self.space.index.status:pairs{state}
end

function methods:truncate()
    self.space:truncate()
end

--- The next timed event of the tasks in `state`: do it when it is due and return 0, else when it will be
--- (microseconds), or nil when there is none. Called by the watcher, in a transaction.
function methods:expire(state)
    local task = self.space.index.watch:min{state}
    if task == nil then
        return nil
    end
    local at = tonumber(task[NEXT_EVENT])
    if at > now() then
        return at
    end
    if state == DELAYED then
        to_ready(self, task, 'delay')
    elseif state == TAKEN then
        to_ready(self, task, 'ttr')
    else
        remove(self, task[ID], 'ttl')
    end
    return 0
end

function methods:start()
    self.watcher:start()
end

function methods:stop()
    self.watcher:stop()
end

return fifottl
