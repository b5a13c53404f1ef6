-- Workers: each has one queue session, which its connections share, so that its leases outlive a cut wire and a restart
-- of its link.

local queue = require('queue')
local uuid = require('uuid')

local workers = {}

local AWAY = 15         -- seconds that a worker's leases outlive its last connection

local sessions = {}     -- worker -> its session
local connections = {}  -- worker -> its latest connection
local replaced = {}     -- connections that were a worker's latest
local lives = {}        -- worker -> how many sessions it has had

function workers.start()
    queue.cfg{ttr = AWAY}
end

-- The first call of a worker's every connection: it goes on with the session, and so the leases, of the one before,
-- if that is not over. Answers the session's uuid as text.
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

-- Is this worker connected? `name`: of the worker, or of one of its actors: `WORKER/walker`.
function workers.connected(name)
    local id = connections[name] or connections[name:match('^(.*)/')]
    return id ~= nil and box.session.exists(id)
end

-- Which of its sessions the worker is in; nil for who never said who it is.
function workers.life(name)
    return lives[name] or lives[name:match('^(.*)/')]
end

-- Is the worker still connected, in this same session?
function workers.still_here(name, life)
    return life ~= nil and life == workers.life(name) and workers.connected(name)
end

-- Has the worker a newer connection than the one that calls? What still waits here must take nothing: nobody would
-- know of it.
function workers.is_replaced()
    return replaced[box.session.id()] == true
end

return workers
