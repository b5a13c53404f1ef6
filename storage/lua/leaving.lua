-- How an instance with a queue exits: after its workers. Whoever signals it, and in whatever order with the node and
-- the workers, batches that are being sent are settled first: unsettled ones would be sent again.

local fiber = require('fiber')

local leaving = {}

local LONGEST = 50 -- seconds: a push is begun within 25 s of its take, and answered within 20
local LOOK_EVERY = 0.02 -- seconds
local LAST_WORDS = 0.1 -- seconds for the last settlement's answer to reach its worker
local MARGIN = 5 -- seconds for what Tarantool itself does after the wait

local deadline = math.huge -- the earliest one set: the parent may go while a SIGTERM waits

-- Whether a connected worker still holds a task.
local function held()
    local workers = require('roles.tubes.workers')
    for _, row in box.space.tubes_taken:pairs() do
        if workers.connected(row.worker) then
            return true
        end
    end
    return false
end

-- Hand out nothing more, and wait until no connected worker holds a task, at most `seconds`.
function leaving.wait(seconds)
    if type(box.cfg) == 'function' or box.space.tubes_taken == nil then
        return -- not started yet, or without a queue
    end
    require('roles.tubes.state').close()
    deadline = math.min(deadline, fiber.clock() + seconds)
    local waited = false
    while held() and fiber.clock() < deadline do
        waited = true
        fiber.sleep(LOOK_EVERY)
    end
    if waited then
        fiber.sleep(LAST_WORDS)
    end
end

-- From now on a SIGTERM waits as `wait` does. Tarantool 2.6 goes on serving while the trigger sleeps.
function leaving.guard()
    if box.ctl.set_on_shutdown_timeout ~= nil then -- since 2.8; 3 s by default
        box.ctl.set_on_shutdown_timeout(LONGEST + MARGIN)
    end
    box.ctl.on_shutdown(function() leaving.wait(LONGEST) end)
end

return leaving
