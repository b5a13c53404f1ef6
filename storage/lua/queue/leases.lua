-- Which session holds which task. A temporary space and not a Lua table, so that a take, ack or release that is
-- rolled back with its transaction takes its ownership back with it.

local leases = {NAME = '_queue_leases'}

function leases.start()
    leases.space = box.space[leases.NAME] or box.schema.space.create(leases.NAME, {temporary = true, format = {
        {'tube_id', 'unsigned'}, {'task_id', 'unsigned'}, {'session', 'string'}, {'connection', 'unsigned'},
    }})
    leases.space:create_index('task', {parts = {'tube_id', 'task_id'}, if_not_exists = true})
    leases.space:create_index('session', {parts = {'session', 'tube_id', 'task_id'}, if_not_exists = true})
    leases.clear()
end

-- Row by row: a read-only instance may do this to a temporary space, but not truncate it.
function leases.clear()
    for _, lease in ipairs(leases.space:select{}) do
        leases.remove(lease.tube_id, lease.task_id)
    end
end

function leases.add(tube_id, task_id, session)
    leases.space:replace{tube_id, task_id, session, box.session.id()}
end

function leases.remove(tube_id, task_id)
    leases.space:delete{tube_id, task_id}
end

function leases.owned(tube_id, task_id, session)
    local lease = leases.space:get{tube_id, task_id}
    return lease ~= nil and lease[3] == session
end

function leases.of_tube(tube_id)
    return leases.space.index.task:select{tube_id}
end

function leases.of_session(session)
    return leases.space.index.session:select{session}
end

return leases
