-- The fiber that makes a tube's timed events happen. It must never die: no error ends it, a full memory least of all,
-- because what it removes is what frees the memory.

local fiber = require('fiber')
local log = require('log')

local watcher = {}
watcher.__index = watcher

local STATES = {'~', 't', 'r', '!'}
local RETRY = 500000    -- microseconds until a failed event is tried again
local BURST = 500       -- events until others get their turn

--- `expire(state)` does the next due event of a state (see fifottl.lua). The tube sets `run(operation)`, which gives
--- it a transaction.
function watcher.new(name, expire)
    return setmetatable({name = name, expire = expire, bell = fiber.cond(), nearest = math.huge}, watcher)
end

--- A task has got a timed event at `at` (microseconds).
function watcher:notice(at)
    if at < self.nearest then
        self.nearest = at
        self.bell:signal()
    end
end

-- Each state for itself: tasks that cannot be given back for want of memory must not keep dead ones from going.
-- Returns the time of the next event, 0 when some are due.
local function round(self)
    local nearest = math.huge
    for _, state in ipairs(STATES) do
        local ok, at = pcall(self.run, function() return self.expire(state) end)
        if not ok then
            log.error('queue: a timed event of tube "%s" failed, trying again: %s', self.name, at)
            at = tonumber(fiber.time64()) + RETRY
        end
        nearest = math.min(nearest, at or math.huge)
    end
    return nearest
end

local function watch(self, me)
    local done = 0
    while self.me == me do
        self.nearest = math.huge
        self.nearest = math.min(round(self), self.nearest)
        if self.nearest > 0 then
            local seconds = (self.nearest - tonumber(fiber.time64())) / 1000000
            self.bell:wait(math.min(math.max(seconds, 0), 3600))
        end
        done = done + 1
        if done % BURST == 0 then
            fiber.sleep(0)
        end
    end
end

function watcher:start()
    if self.me == nil then
        local me = {}
        self.me = me
        fiber.create(function()
            fiber.name('queue.' .. self.name, {truncate = true})
            box.session.su('admin', watch, self, me)
        end)
    end
end

function watcher:stop()
    self.me = nil
    self.bell:signal()
end

return watcher
