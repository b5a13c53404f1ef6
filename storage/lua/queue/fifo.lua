-- The plain queue: tasks leave in the order they came.
-- Tuple: [id, state, data], as the queue rock stores it, so that either module can go on with the other's data.

local driver = require('queue.driver')

local fifo = {}
local methods = driver.extend()

function fifo.create_space(name, opts)
    local format = {{'task_id', 'unsigned'}, {'status', 'string'}, {'data', '*'}}
    return driver.create_space(name, opts, format, {2, 'string', 1, 'unsigned'})
end

function fifo.new(space, on_task_change, opts)
    return setmetatable({space = space, on_task_change = on_task_change, opts = opts}, methods)
end

function methods:make_ready(task, event)
    return self:update(task[1], {{'=', 2, 'r'}}, event)
end

function methods:put(data)
    local task = self.space:insert{self:next_id(), 'r', data == nil and box.NULL or data}
    self.on_task_change(task, 'put')
    return task
end

function methods:take()
    local task = self.space.index.status:min{'r'}
    return task and self:update(task[1], {{'=', 2, 't'}}, 'take')
end

function methods.touch()
    error('fifo queue does not support touch')
end

function methods:release(id)
    return self:update(id, {{'=', 2, 'r'}}, 'release')
end

function methods:bury(id)
    return self:update(id, {{'=', 2, '!'}}, 'bury')
end

return fifo
