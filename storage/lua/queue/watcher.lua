-- The fiber that makes a tube's timed events happen. It must never die: no error ends it, a full memory least of all,
-- because what it removes is what frees the memory.

local fiber = require('fiber')
local log = require('log')
local transaction = require('queue.transaction')

local watcher = {}
watcher.__index = watcher

local STATES = {'~', 't', 'r', '!'}
local RETRY = 0.5   -- seconds until a failed event is tried again
local IDLE = 3600   -- seconds
local BURST = 500   -- events until others get their turn

--- `expire(state)` does the next due event of a state: see fifottl.lua.
function watcher.new(space, expire)
    return setmetatable({
        name = space.name, expire = expire, run = transaction.runner(space), bell = fiber.cond(), nearest = math.huge,
    }, watcher)
end

--- A task has got a timed event at `at` (microseconds).
function watcher:notice(at)
    if at < self.nearest then
        self.nearest = at
        self.bell:signal()
    end
end

-- Each state for itself: tasks that cannot be given back for want of memory must not keep dead ones from going.
local function round(self)
    local nearest, busy = math.huge, false
    for _, state in ipairs(STATES) do
        local ok, at = pcall(self.run, self.expire, state)
        if not ok then
            log.error('queue: a timed event of tube "%s" failed, trying again: %s', self.name, tostring(at))
            nearest = math.min(nearest, tonumber(fiber.time64()) + RETRY * 1000000)
        elseif at == 0 then
            busy = true
        elseif at ~= nil then
            nearest = math.min(nearest, at)
        end
    end
    return nearest, busy
end

local function watch(self, me)
    local done = 0
    while self.fiber == me do
        self.nearest = math.huge
        local nearest, busy = round(self)
        if busy then
            done = done + 1
            if done % BURST == 0 then
                fiber.sleep(0)
            end
        else
            self.nearest = math.min(self.nearest, nearest)
            local seconds = (self.nearest - tonumber(fiber.time64())) / 1000000
            if seconds > 0 then
                self.bell:wait(math.min(seconds, IDLE))
            end
        end
    end
end

function watcher:start()
    if self.fiber ~= nil then
        return
    end
    local me = {}
    self.fiber = me
    fiber.create(function()
        fiber.name('queue.' .. self.name, {truncate = true})
        box.session.su('admin', watch, self, me)
    end)
end

function watcher:stop()
    self.fiber = nil
    self.bell:signal()
end

return watcher
