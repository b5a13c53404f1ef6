-- Sessions: who owns a taken task. A connection gets one on first use, several connections may share one, and a
-- session outlives its last connection by `ttr` seconds, so that a client that comes back finds its tasks.
--
-- Kept in Lua tables on purpose: a session is no part of anybody's transaction, it ends with the process, and needs
-- neither grants nor memory that a full arena could refuse at the very moment of a disconnect.

local fiber = require('fiber')
local log = require('log')
local uuid = require('uuid')

-- init.lua sets: release(session) gives its tasks back and returns true when none is left; on_gone(connection);
-- holds(session), whether it has tasks.
local session = {ttr = 0}

local RETRY = 1     -- seconds until a failed release is tried again
local TIDY = 60     -- seconds between looks for sessions of fibers that have ended

local by_connection = {}    -- connection id -> session
local connections = {}      -- session -> number of its connections
local orphans = {}          -- session without connections -> when its tasks are given back (fiber.clock seconds)
local stir = fiber.cond()

-- A request that was queued may start after its connection was closed; it must not open a session that nobody ends.
local function is_closed()
    local kind = box.session.type()
    return (kind == 'binary' or kind == 'console') and box.session.fd() < 0
end

local function join(connection, id)
    by_connection[connection] = id
    connections[id] = (connections[id] or 0) + 1
    orphans[id] = nil
end

local function settle(id)
    local ok, done = pcall(session.release, id)
    if ok and done then
        orphans[id] = nil
        return
    end
    log.error('queue: some tasks of a session that has ended could not be released, trying again: %s', tostring(done))
    orphans[id] = fiber.clock() + RETRY
    stir:signal()
end

local function leave(connection)
    local id = by_connection[connection]
    if id == nil then
        return
    end
    by_connection[connection] = nil
    connections[id] = connections[id] - 1
    if connections[id] > 0 then
        return
    end
    connections[id] = nil
    orphans[id] = fiber.clock() + session.ttr
    if session.ttr == 0 then
        settle(id)
    else
        stir:signal()
    end
end

--- This connection's session, or nil when it has none yet.
function session.known()
    return by_connection[box.session.id()]
end

--- This connection's session, opened on first use; nil when the client has gone.
function session.current()
    local connection = box.session.id()
    local id = by_connection[connection]
    if id == nil and not is_closed() then
        id = uuid.bin()
        join(connection, id)
    end
    return id
end

--- This connection's session (16 bytes), or join the session `id` of other connections.
function session.identify(id)
    if id == nil then
        return session.current()
    end
    if type(id) ~= 'string' or #id ~= 16 then
        error('Invalid UUID format.')
    end
    if connections[id] == nil and orphans[id] == nil then
        error(('UUID %s is unknown.'):format(uuid.frombin(id)))
    end
    local connection = box.session.id()
    if by_connection[connection] ~= id and not is_closed() then
        leave(connection)
        join(connection, id)
    end
    return id
end

function session.on_disconnect()
    local connection = box.session.id()
    box.session.su('admin', function()
        session.on_gone(connection)
        leave(connection)
    end)
end

-- A fiber's own session ends without a disconnect. Its tasks stay taken (ttr is for them), its record need not.
local function tidy()
    for connection, id in pairs(by_connection) do
        if not box.session.exists(connection) and not session.holds(id) then
            leave(connection)
        end
    end
end

local function sweep()
    local tidied = fiber.clock()
    while true do
        local now = fiber.clock()
        local nearest = tidied + TIDY
        local due = {}
        for id, at in pairs(orphans) do
            if at <= now then
                table.insert(due, id)
            else
                nearest = math.min(nearest, at)
            end
        end
        for _, id in ipairs(due) do
            -- It may have been joined again while an earlier one was being settled.
            if orphans[id] ~= nil then
                settle(id)
            end
        end
        if now >= tidied + TIDY then
            tidied = now
            tidy()
        elseif #due == 0 then
            stir:wait(nearest - now)
        end
    end
end

--- Start watching connections; done once per process.
function session.start()
    box.session.on_disconnect(session.on_disconnect)
    fiber.create(function()
        fiber.name('queue.sessions')
        box.session.su('admin', sweep)
    end)
end

return session
