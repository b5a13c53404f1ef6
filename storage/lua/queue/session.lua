-- Sessions: who owns a taken task. A connection gets one on first use, several connections may share one, and a
-- session outlives its last connection by `ttr` seconds, so that a client that comes back finds its tasks.
--
-- Kept in Lua tables on purpose: a session is no part of anybody's transaction, it ends with the process, and needs
-- neither grants nor memory that a full arena could refuse at the very moment of a disconnect.

local fiber = require('fiber')
local log = require('log')
local uuid = require('uuid')

-- init.lua sets on_gone(connection), and release(session): give its tasks back, true when none is left.
local session = {ttr = 0}

local RETRY = 1     -- seconds until a failed release is tried again

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
    orphans[id] = nil       -- nobody may join it any more
    local ok, done = pcall(session.release, id)
    if not (ok and done) then
        log.error('queue: not all tasks of a session that has ended could be given back, trying again: %s', done)
        orphans[id] = fiber.clock() + RETRY
        stir:signal()
    end
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
    end
    stir:signal()
end

--- This connection's session, or nil when it has none yet.
function session.known()
    return by_connection[box.session.id()]
end

--- This connection's session, opened on first use; nil when the client has gone.
function session.current()
    local connection = box.session.id()
    if by_connection[connection] == nil and not is_closed() then
        join(connection, uuid.bin())
    end
    return by_connection[connection]
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
        local joined = connections[id]
        connections[id] = (joined or 0) + 1     -- held while leaving yields
        orphans[id] = nil
        leave(connection)
        by_connection[connection] = id
    end
    return id
end

--- To be called when a connection has ended, as admin.
function session.disconnect(connection)
    session.on_gone(connection)
    leave(connection)
end

--- Give back the tasks of sessions whose time is over, for the life of the process.
function session.sweep()
    while true do
        local now, nearest = fiber.clock(), math.huge
        local due = {}
        for id, at in pairs(orphans) do
            nearest = math.min(nearest, at)
            if at <= now then
                table.insert(due, id)
            end
        end
        for _, id in ipairs(due) do
            if orphans[id] ~= nil then      -- not joined again while an earlier one was settled
                settle(id)
            end
        end
        if #due == 0 then
            stir:wait(math.min(nearest - now, 3600))
        end
    end
end

return session
