-- The queue with priorities, delays, a time to live and a time to run. Times are microseconds of the wall clock.
-- Tuple: [id, state, next_event, ttl, ttr, pri, created, data], as the queue rock stores it.

local fiber = require('fiber')
local driver = require('queue.driver')
local watcher = require('queue.watcher')

local READY, TAKEN, BURIED, DELAYED = 'r', 't', '!', '~'
local ID, STATE, NEXT_EVENT, TTL, TTR, CREATED = 1, 2, 3, 4, 5, 7
local FOREVER = 365 * 86400 * 500 * 1000000     -- 500 years

local fifottl = {}
local methods = driver.extend()

function fifottl.create_space(name, opts)
    local format = {
        {'task_id', 'unsigned'}, {'status', 'string'}, {'next_event', 'unsigned'}, {'ttl', 'unsigned'},
        {'ttr', 'unsigned'}, {'pri', 'number'}, {'created', 'unsigned'}, {'data', '*'},
    }
    local space = driver.create_space(name, opts, format, {2, 'string', 6, 'number', 1, 'unsigned'})
    space:create_index('watch', {type = 'tree', parts = {2, 'string', 3, 'unsigned'}, unique = false})
    return space
end

local function now()
    return tonumber(fiber.time64())
end

local function span(seconds)
    seconds = tonumber(seconds) or error('a time must be a number of seconds')
    return math.min(math.floor(math.max(seconds, 0) * 1000000), FOREVER)
end

local function death(task)
    return tonumber(task[CREATED]) + tonumber(task[TTL])
end

local function is_delay(opts)
    return opts.delay ~= nil and opts.delay > 0
end

function fifottl.new(space, on_task_change, opts)
    local self = setmetatable({space = space, opts = opts}, methods)
    self.watcher = watcher.new(space.name, function(state) return self:expire(state) end)
    function self.on_task_change(task, event)
        if task[STATE] ~= '-' then
            self.watcher:notice(tonumber(task[NEXT_EVENT]))
        end
        on_task_change(task, event)
    end
    return self
end

function methods:make_ready(task, event)
    return self:update(task[ID], {{'=', STATE, READY}, {'=', NEXT_EVENT, death(task)}}, event)
end

function methods:put(data, opts)
    local ttl = span(opts.ttl or self.opts.ttl or FOREVER)
    local ttr = opts.ttr or self.opts.ttr
    ttr = ttr and span(ttr) or ttl
    local created = now()
    local state, next_event = READY, created + ttl
    if is_delay(opts) then
        local delay = span(opts.delay)
        state, next_event, ttl = DELAYED, created + delay, ttl + delay
    end
    local pri = opts.pri or self.opts.pri or 0
    data = data == nil and box.NULL or data
    local task = self.space:insert{self:next_id(), state, next_event, ttl, ttr, pri, created, data}
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
end

function methods:take()
    local at = now()
    local task = first_alive(self, at)
    if task == nil then
        return nil
    end
    -- A task is not held beyond its life, however long its ttr.
    local next_event = math.min(at + tonumber(task[TTR]), death(task))
    return self:update(task[ID], {{'=', STATE, TAKEN}, {'=', NEXT_EVENT, next_event}}, 'take')
end

function methods:touch(id, seconds)
    local more = span(seconds)
    return self:update(id, {{'+', NEXT_EVENT, more}, {'+', TTL, more}, {'+', TTR, more}}, 'touch')
end

function methods:release(id, opts)
    local task = self.space:get{id}
    if task == nil or not is_delay(opts) then
        return task and self:make_ready(task, 'release')
    end
    local delay = span(opts.delay)
    local changes = {{'=', STATE, DELAYED}, {'=', NEXT_EVENT, now() + delay}, {'+', TTL, delay}}
    return self:update(id, changes, 'release')
end

function methods:bury(id)
    local task = self.space:get{id}
    return task and self:update(id, {{'=', STATE, BURIED}, {'=', NEXT_EVENT, death(task)}}, 'bury')
end

--- The next timed event of the tasks in `state`: do it when it is due and return 0, else return its time, or nil when
--- there is none. Called by the watcher.
function methods:expire(state)
    local task = self.space.index.watch:min{state}
    local at = task and tonumber(task[NEXT_EVENT])
    if task == nil or at > now() then
        return at
    end
    if state == DELAYED then
        self:make_ready(task, 'delay')
    elseif state == TAKEN then
        self:make_ready(task, 'ttr')
    else
        self:delete(task[ID], 'ttl')
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
