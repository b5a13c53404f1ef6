-- What wakes this node's heartbeat: somebody has stopped a campaign, or lets it go on, and the heartbeat brings the news.
-- Another node may call `tubes.stop`: it says nothing but "ask the store now".

local fiber = require('fiber')

local stops = {}

local count, called = 0, fiber.cond()

-- A campaign was stopped, or goes on: wake whoever waits for that. Returns how often this was called.
function stops.stop()
    count = count + 1
    called:broadcast()
    return count
end

-- How often `stop` was called: what `wait` has to know.
function stops.count()
    return count
end

-- A long poll of at most `timeout` seconds, until `stop` has been called more than `known` times.
function stops.wait(known, timeout)
    local deadline = fiber.clock() + timeout
    while count == known and fiber.clock() < deadline do
        called:wait(deadline - fiber.clock())
    end
    return count
end

return stops
