-- The plain queue: tasks leave in the order they came. Tuple: [id, state, data], as the queue rock stores it.
-- A driver keeps tasks in a space and reports each change to `on_task_change(task, event)`; it knows nothing of
-- sessions, waiters or transactions.

local fifo = {methods = {}}
local methods = fifo.methods

function fifo.create_space(name, opts, fields, status)
    local format = {{'task_id', 'unsigned'}, {'status', 'string'}, unpack(fields or {{'data', '*'}})}
    local space = box.schema.space.create(name, {temporary = opts.temporary, engine = opts.engine, format = format})
    space:create_index('task_id', {parts = {1, 'unsigned'}})
    space:create_index('status', {parts = status or {2, 'string', 1, 'unsigned'}})
    return space
end

function fifo.new(space, on_task_change, opts)
    return setmetatable({space = space, on_task_change = on_task_change, opts = opts}, {__index = methods})
end

--- The reply [id, state, data].
function methods.normalize_task(_, task)
    return #task > 3 and task:transform(3, #task - 3) or task
end

function methods:changed(task, event)
    if task ~= nil then
        self.on_task_change(task, event)
    end
    return task
end

-- The id is the highest + 1: an empty tube starts again at 0.
function methods:insert(...)
    local last = self.space.index.task_id:max()
    return self:changed(self.space:insert{last and last[1] + 1 or 0, ...}, 'put')
end

--- Bring a task (nil: nothing to do) into another state.
function methods:move(task, state, event)
    return task and self:changed(self.space:update(task[1], {{'=', 2, state}}), event)
end

function methods:put(data)
    return self:insert('r', data == nil and box.NULL or data)
end

function methods:first_ready()
    return self.space.index.status:min{'r'}
end

function methods:take()
    return self:move(self:first_ready(), 't', 'take')
end

function methods.touch()
    error('fifo queue does not support touch')
end

function methods:release(id, opts)
    return self:move(self:peek(id), 'r', 'release', opts.delay)
end

function methods:bury(id)
    return self:move(self:peek(id), '!', 'bury')
end

function methods:kick(count)
    local kicked = 0
    while kicked < count and self:move(self.space.index.status:min{'!'}, 'r', 'kick') ~= nil do
        kicked = kicked + 1
    end
    return kicked
end

function methods:delete(id, event)
    local task = self:peek(id)      -- vinyl does not return what it deletes
    self.space:delete{id}
    return self:changed(task and task:transform(2, #task - 2, '-'), event or 'delete')
end

function methods:peek(id)
    return self.space:get{id}
end

function methods:tasks_by_state(state)
    return self.space.index.status:pairs{state}
end

function methods:truncate()
    self.space:truncate()
end

return fifo
