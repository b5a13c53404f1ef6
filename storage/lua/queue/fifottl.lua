-- The queue with priorities, delays, a time to live and a time to run. Times are microseconds of the wall clock; only a
-- time to run is counted by a clock that nobody sets, or a clock set forward would end every lease.
-- Tuple: [id, state, next_event, ttl, ttr, pri, created, data], as the queue rock stores it.

local fiber = require('fiber')
local fifo = require('queue.fifo')
local log = require('log')

local ID, STATE, NEXT_EVENT, TTL, TTR, CREATED = 1, 2, 3, 4, 5, 7
local FOREVER = 365 * 86400 * 500 * 1000000     -- 500 years
local LOOK_EVERY = 1                            -- second: the wall clock may be set forward while the watcher waits
local RETRY = 500000                            -- until a timed event that failed is tried again
local EVENTS = {['~'] = 'delay', t = 'ttr', r = 'ttl', ['!'] = 'ttl'}   -- what a task's next_event is, by its state

local fifottl = {}
local began, began_at = tonumber(fiber.time64()), fiber.clock()
local methods = setmetatable({}, {__index = fifo.methods})

function fifottl.create_space(name, opts)
    local space = fifo.create_space(name, opts, {
        {'next_event', 'unsigned'}, {'ttl', 'unsigned'}, {'ttr', 'unsigned'}, {'pri', 'number'},
        {'created', 'unsigned'}, {'data', '*'},
    }, {2, 'string', 6, 'number', 1, 'unsigned'})
    space:create_index('watch', {parts = {2, 'string', 3, 'unsigned'}, unique = false})
    return space
end

local function now()
    return tonumber(fiber.time64())
end

-- The wall clock, if nobody had set it since this process began. What was taken before that is ready again.
local function steady()
    return began + math.floor((fiber.clock() - began_at) * 1000000)
end

local function clock(state)
    return state == 't' and steady() or now()
end

local function span(seconds)
    seconds = tonumber(seconds) or error('a time must be a number of seconds')
    return math.min(math.floor(math.max(seconds, 0) * 1000000), FOREVER)
end

local function death(task)
    return tonumber(task[CREATED]) + tonumber(task[TTL])
end

--- `atomically(f, ...)`: makes a change that no caller has asked for.
function fifottl.new(space, on_task_change, opts, atomically)
    local self = setmetatable({space = space, opts = opts, atomically = atomically}, {__index = methods})
    self.bell, self.nearest = fiber.cond(), 0
    function self.on_task_change(task, event)
        local wait = task[STATE] ~= '-' and tonumber(task[NEXT_EVENT]) - clock(task[STATE]) or math.huge
        if wait < self.nearest - steady() then
            self.nearest = steady() + wait
            self.bell:signal()
        end
        on_task_change(task, event)
    end
    return self
end

function methods:put(data, opts)
    local at, delay, ttl = now(), span(opts.delay or 0), span(opts.ttl or self.opts.ttl or FOREVER)
    local ttr, pri = opts.ttr or self.opts.ttr, opts.pri or self.opts.pri or 0
    ttr = ttr and span(ttr) or ttl
    local state, next_event = 'r', at + ttl
    if delay > 0 then
        state, next_event = '~', at + delay
    end
    return self:insert(state, next_event, ttl + delay, ttr, pri, at, data == nil and box.NULL or data)
end

function methods:move(task, state, event, delay)
    if task == nil then
        return nil
    end
    local changes = {{'=', STATE, state}, {'=', NEXT_EVENT, death(task)}}
    if delay ~= nil and delay > 0 then
        changes = {{'=', STATE, '~'}, {'=', NEXT_EVENT, now() + span(delay)}, {'+', TTL, span(delay)}}
    elseif state == 't' then    -- not beyond its ttl, however long its ttr
        changes[2][3] = math.min(steady() + tonumber(task[TTR]), changes[2][3])
    end
    return self:changed(self.space:update(task[ID], changes), event)
end

-- The watcher removes expired tasks, but it may be late: do not hand them out.
function methods:first_ready()
    local at, status = now(), self.space.index.status
    local first = status:min{'r'}
    if first == nil or first[NEXT_EVENT] > at then
        return first
    end
    for _, task in status:pairs{'r'} do
        if task[NEXT_EVENT] > at then
            return task
        end
    end
end

function methods:touch(id, seconds)
    local more = span(seconds)
    return self:changed(self.space:update(id, {{'+', NEXT_EVENT, more}, {'+', TTL, more}, {'+', TTR, more}}), 'touch')
end

-- The next event of the tasks in `state`: if it is due, do it and return 0, else return how long that will take.
local function expire(self, state, event)
    local task = self.space.index.watch:min{state}
    local wait = task and tonumber(task[NEXT_EVENT]) - clock(state) or math.huge
    if wait > 0 then
        return wait
    elseif event == 'ttl' then
        self:delete(task[ID], event)
    else
        self:move(task, 'r', event)
    end
    return 0
end

-- Makes timed events happen. No error ends it, least of all a full memory, because the tasks that it removes free the
-- memory: so each state is handled by itself.
local function watch(self, me)
    while self.watcher == me do
        self.nearest = math.huge
        for state, event in pairs(EVENTS) do
            local ok, wait = pcall(self.atomically, expire, self, state, event)
            if not ok then
                log.error('queue: a timed event of tube "%s" failed, trying again: %s', self.space.name, wait)
                wait = RETRY
            end
            self.nearest = math.min(self.nearest, steady() + wait)
        end
        self.bell:wait(math.min(math.max((self.nearest - steady()) / 1000000, 0), LOOK_EVERY))
    end
end

function methods:start()
    self.watcher = {}   -- stands for this fiber: a later start makes another
    local watcher = fiber.create(box.session.su, 'admin', watch, self, self.watcher)
    watcher:name('queue.' .. self.space.name, {truncate = true})
end

function methods:stop()
    self.watcher = nil
    self.bell:signal()
end

return fifottl
