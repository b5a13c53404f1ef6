-- Sessions: the owners of taken tasks. A connection gets one on first use, several connections may share one, and a
-- session outlives its last connection by `cfg.ttr` seconds, so that a client that comes back finds its tasks.
--
-- Kept in Lua tables on purpose: a session is not part of any transaction, it ends with the process, and needs
-- neither grants nor memory that a full arena could refuse at the very moment of a disconnect.

local cfg = require('queue.cfg')
local fiber = require('fiber')
local log = require('log')
local uuid = require('uuid')

local session = {}          -- init.lua sets release(session): give its tasks back, true when none is left
local by_connection = {}    -- connection -> session
local connections = {}      -- session -> number of its connections
local ends = {}             -- session without connections -> when its tasks are given back (fiber.clock seconds)

local function finish(id)
    ends[id] = nil      -- nobody can join it any more
    local ok, done = pcall(session.release, id)
    if not (ok and done) then
        log.error('queue: not all tasks of a session that has ended could be given back, trying again: %s', done)
        ends[id] = fiber.clock()
    end
end

--- To be called when a connection has ended, as admin.
function session.leave(connection)
    local id = by_connection[connection]
    if id == nil then
        return
    end
    by_connection[connection] = nil
    connections[id] = connections[id] > 1 and connections[id] - 1 or nil
    if connections[id] == nil and cfg.ttr > 0 then
        ends[id] = fiber.clock() + cfg.ttr
    elseif connections[id] == nil then
        finish(id)
    end
end

-- A queued request may start after its connection was closed; it must not open a session that nobody would end.
local function join(id)
    local connection, kind = box.session.id(), box.session.type()
    if (kind == 'binary' or kind == 'console') and box.session.fd() < 0 then
        return nil
    elseif by_connection[connection] ~= id then
        connections[id] = (connections[id] or 0) + 1    -- counted first, as leaving yields
        ends[id] = nil
        session.leave(connection)
        by_connection[connection] = id
    end
    return id
end

--- This connection's session, or nil when it has none yet.
function session.known()
    return by_connection[box.session.id()]
end

--- This connection's session (16 bytes), opened on first use; nil when the client has gone. Or join the session `id`
--- of other connections.
function session.identify(id)
    if id == nil then
        return session.known() or join(uuid.bin())
    elseif type(id) ~= 'string' or #id ~= 16 then
        error('Invalid UUID format.')
    elseif connections[id] == nil and ends[id] == nil then
        error(('The UUID %s is unknown.'):format(uuid.frombin(id)))
    end
    return join(id)
end

--- Give back the tasks of sessions that have expired, for the life of the process.
function session.sweep()
    while true do
        fiber.sleep(1)
        for id, at in pairs(table.copy(ends)) do
            if ends[id] == at and at <= fiber.clock() then     -- not joined again in the meantime
                finish(id)
            end
        end
    end
end

return session
