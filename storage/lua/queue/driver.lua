-- What fifo and fifottl share. A driver keeps tasks [id, state, …, data] in a space and reports each change to
-- `on_task_change(task, event)`; it knows nothing of sessions, waiters or transactions.

local driver = {plain = true}   -- plain: fields 1 and 2 of a stored tuple are those of a reply
driver.__index = driver

--- Methods of a new driver, on top of these.
function driver.extend()
    local methods = setmetatable({}, driver)
    methods.__index = methods
    return methods
end

function driver.create_space(name, opts, format, status)
    local space = box.schema.space.create(name, {temporary = opts.temporary, engine = opts.engine, format = format})
    space:create_index('task_id', {type = 'tree', parts = {1, 'unsigned'}})
    space:create_index('status', {type = 'tree', parts = status})
    return space
end

--- The reply [id, state, data].
function driver.normalize_task(_, task)
    return #task > 3 and task:transform(3, #task - 3) or task
end

-- The highest id + 1: an empty tube starts again at 0.
function driver:next_id()
    local last = self.space.index.task_id:max()
    return last and last[1] + 1 or 0
end

function driver:update(id, changes, event)
    local task = self.space:update(id, changes)
    if task ~= nil then
        self.on_task_change(task, event)
    end
    return task
end

function driver:delete(id, event)
    local task = self.space:delete(id)
    if task ~= nil then
        task = task:transform(2, #task - 2, '-')    -- in one step: data may be large, and each step copies it
        self.on_task_change(task, event or 'delete')
    end
    return task
end

function driver:kick(count)
    for kicked = 0, count - 1 do
        local task = self.space.index.status:min{'!'}
        if task == nil then
            return kicked
        end
        self:make_ready(task, 'kick')
    end
    return count
end

function driver:peek(id)
    return self.space:get{id}
end

function driver:tasks_by_state(state)
    return self.space.index.status:pairs{state}
end

function driver:truncate()
    self.space:truncate()
end

function driver.start() end

function driver.stop() end

return driver
