-- Which session holds which task. A temporary space and not a Lua table, so that a take, ack or release that is
-- rolled back with its transaction takes its ownership back with it.

local leases = {}

local NAME = '_queue_leases'
local SESSION = 3

function leases.start()
    leases.space = box.space[NAME] or box.schema.space.create(NAME, {
        temporary = true,
        format = {
            {'tube_id', 'unsigned'}, {'task_id', 'unsigned'}, {'session', 'string'}, {'connection', 'unsigned'},
        },
    })
    local space = leases.space
    space:create_index('task', {parts = {'tube_id', 'task_id'}, if_not_exists = true})
    space:create_index('session', {parts = {'session', 'tube_id', 'task_id'}, if_not_exists = true})
end

function leases.clear()
    leases.space:truncate()
end

function leases.grant(user)
    box.schema.user.grant(user, 'read,write', 'space', NAME, {if_not_exists = true})
end

function leases.add(tube_id, task_id, session)
    leases.space:replace{tube_id, task_id, session, box.session.id()}
end

function leases.remove(tube_id, task_id)
    leases.space:delete{tube_id, task_id}
end

function leases.owned(tube_id, task_id, session)
    local lease = leases.space:get{tube_id, task_id}
    return lease ~= nil and lease[SESSION] == session
end

function leases.of_tube(tube_id)
    return leases.space.index.task:select{tube_id}
end

function leases.of_session(session)
    return leases.space.index.session:select{session}
end

function leases.tube_has_any(tube_id)
    return leases.space.index.task:min{tube_id} ~= nil
end

function leases.session_has_any(session)
    return leases.space.index.session:min{session} ~= nil
end

return leases
