-- Workers: each has one queue session, which its connections share, so that its leases outlive a lost connection and a
-- restart of its link.

local queue = require('queue')
local uuid = require('uuid')

local workers = {}

local AWAY = 15         -- seconds that a worker's leases outlive its last connection

local sessions = {}     -- worker -> its session
local connections = {}  -- worker -> its latest connection
local replaced = {}     -- connections that a newer one of the same worker has replaced
local lives = {}        -- worker -> how many sessions it has had

function workers.start()
    queue.cfg{ttr = AWAY}
end

-- The first call on each of a worker's connections: it goes on with the session, and so the leases, of the one before,
-- if the session has not ended. Returns the session's uuid as text.
function workers.identify(worker)
    if sessions[worker] == nil or not pcall(queue.identify, sessions[worker]) then
        sessions[worker] = queue.identify()
        lives[worker] = (lives[worker] or 0) + 1
    end
    for id in pairs(replaced) do
        replaced[id] = box.session.exists(id) or nil
    end
    local former = connections[worker]
    connections[worker] = box.session.id()
    if former ~= nil and former ~= connections[worker] then
        replaced[former] = true
    end
    return uuid.frombin(sessions[worker]):str()
end

-- Whether this worker is connected. `name`: of the worker, or of one of its actors: `WORKER/walker`.
function workers.connected(name)
    local id = connections[name] or connections[name:match('^(.*)/')]
    return id ~= nil and box.session.exists(id)
end

-- The number of the worker's present session; nil if it never called `identify`.
function workers.life(name)
    return lives[name] or lives[name:match('^(.*)/')]
end

-- Whether the worker is still connected, in the same session.
function workers.still_here(name, life)
    return life ~= nil and life == workers.life(name) and workers.connected(name)
end

-- Whether the worker has a newer connection than the calling one. A call that still waits on the old one must take
-- nothing: nobody would know of it.
function workers.is_replaced()
    return replaced[box.session.id()] == true
end

return workers
