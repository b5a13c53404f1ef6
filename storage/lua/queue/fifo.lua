-- The plain queue: tasks leave in the order they came.
-- Tuple: [id, state, data], as the queue rock stores it, so that either module can go on with the other's data.

local READY, TAKEN, DONE, BURIED = 'r', 't', '-', '!'
local ID, STATE = 1, 2

local fifo = {}

local methods = {plain = true}
methods.__index = methods

function fifo.create_space(name, opts)
    local space = box.schema.space.create(name, {
        temporary = opts.temporary,
        engine = opts.engine,
        format = {{'task_id', 'unsigned'}, {'status', 'string'}, {'data', '*'}},
    })
    space:create_index('task_id', {type = 'tree', parts = {1, 'unsigned'}})
    space:create_index('status', {type = 'tree', parts = {2, 'string', 1, 'unsigned'}})
    return space
end

function fifo.new(space, on_task_change, opts)
    return setmetatable({space = space, on_task_change = on_task_change, opts = opts}, methods)
end

function methods.normalize_task(_, task)
    return task
end

local function change(self, id, state, event)
    local task = self.space:update(id, {{'=', STATE, state}})
    if task ~= nil then
        self.on_task_change(task, event)
    end
    return task
end

function methods:put(data)
    local last = self.space.index.task_id:max()
    if data == nil then
        data = box.NULL
    end
    local task = self.space:insert{last and last[ID] + 1 or 0, READY, data}
    self.on_task_change(task, 'put')
    return task
end

function methods:take()
    local task = self.space.index.status:min{READY}
    if task == nil then
        return nil
    end
    return change(self, task[ID], TAKEN, 'take')
end

function methods.touch()
    error('fifo queue does not support touch')
end

function methods:delete(id)
    local task = self.space:delete(id)
    if task ~= nil then
        task = task:update{{'=', STATE, DONE}}
        self.on_task_change(task, 'delete')
    end
    return task
end

function methods:release(id)
    return change(self, id, READY, 'release')
end

function methods:bury(id)
    return change(self, id, BURIED, 'bury')
end

function methods:kick(count)
    for kicked = 0, count - 1 do
        local task = self.space.index.status:min{BURIED}
        if task == nil then
            return kicked
        end
        change(self, task[ID], READY, 'kick')
    end
    return count
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

function methods.start() end

function methods.stop() end

return fifo
