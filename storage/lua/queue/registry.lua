-- The existing tubes and the drivers that make them. `_queue` has one row a tube, as in the queue rock; the temporary
-- `_queue_leases` says which session has taken which task.

local cfg = require('queue.cfg')
local log = require('log')
local state = require('queue.state')
local tube = require('queue.tube')

local DRIVER_METHODS = {
    'normalize_task', 'put', 'take', 'delete', 'release', 'bury', 'kick', 'peek', 'touch', 'truncate', 'tasks_by_state',
}

local tubes = {}
local drivers = {fifo = require('queue.fifo'), fifottl = require('queue.fifottl')}
local registry = {tubes = tubes, drivers = drivers}

local function driver_of(kind)
    return drivers[kind] or error(('Unknown tube type %s: the bundled queue module has fifo and fifottl, ' ..
        'other types need the "queue" rock (tt rocks install queue)'):format(tostring(kind)))
end

local function call(raw, name)
    if raw[name] ~= nil then    -- optional in a registered driver
        raw[name](raw)
    end
end

local function open(row)
    local self = tube.new(driver_of(row[4]), row)
    for _, name in ipairs(DRIVER_METHODS) do
        if type(self.raw[name]) ~= 'function' then
            error(('The "%s" driver does not have an implementation of method "%s".'):format(row[4], name))
        end
    end
    tubes[self.name] = self
    return self
end

-- After a restart, or after another instance was the writable one, no task is taken.
local function resume(row)
    if drivers[row[4]] == nil then
        log.warn('queue: tube "%s" is of type %s, which needs the "queue" rock: left alone', row[1], row[4])
        return
    end
    local self = tubes[row[1]] or open(row)
    self:give_back_all()
    call(self.raw, 'start')
end

function registry.startup()
    local s = box.schema.space.create('_queue', {if_not_exists = true, format = {
        {'tube_name', 'string'}, {'tube_id', 'unsigned'}, {'space_name', 'string'}, {'type', 'string'}, {'opts', 'any'},
    }})
    s:create_index('tube', {type = 'tree', parts = {1, 'string'}, if_not_exists = true})
    s:create_index('tube_id', {type = 'tree', parts = {2, 'unsigned'}, if_not_exists = true})
    local held = box.schema.space.create('_queue_leases', {if_not_exists = true, temporary = true, format = {
        {'tube_id', 'unsigned'}, {'task_id', 'unsigned'}, {'session', 'string'},
    }})
    held:create_index('task', {parts = {'tube_id', 'task_id'}, if_not_exists = true})
    held:create_index('session', {parts = {'session', 'tube_id', 'task_id'}, if_not_exists = true})
    for _, row in ipairs(s:select{}) do
        resume(row)
    end
end

function registry.ending()
    for _, self in pairs(tubes) do
        call(self.raw, 'stop')
        self.wake_all()
    end
    local held = box.space._queue_leases
    for _, lease in ipairs(held:select{}) do    -- row by row: a read-only instance may not truncate it
        held:delete{lease.tube_id, lease.task_id}
    end
end

--- Give back the tasks that a session has taken. False if some could not be given back.
function registry.give_back(session)
    local all = true
    for _, lease in ipairs(box.space._queue_leases.index.session:select{session}) do
        local row = box.space._queue.index.tube_id:get{lease.tube_id}
        all = tubes[row.tube_name]:give_back(lease.task_id) and all
    end
    return all
end

--- opts: temporary, if_not_exists, engine, on_task_change; fifottl: ttl, ttr, pri too.
function registry.create(name, kind, opts)
    if not state.is_running('create_tube') then
        return nil
    end
    opts = opts or {}
    if opts.if_not_exists and tubes[name] ~= nil then
        return tubes[name]
    elseif cfg.in_replicaset and opts.temporary then
        error('Cannot create temporary tube in replicaset mode')
    end
    local driver = driver_of(kind)
    local kept = setmetatable({}, {__serialize = 'map'})
    for option, value in pairs(opts) do
        kept[option] = type(value) ~= 'function' and value or nil
    end
    local row = opts.if_not_exists and box.space._queue:get{name} or box.atomic(function()
        local space = driver.create_space(name, kept)
        local last = box.space._queue.index.tube_id:max()
        return box.space._queue:insert{name, last and last[2] + 1 or 0, space.name, kind, kept}
    end)
    local self = open(row)
    self.callback = opts.on_task_change
    call(self.raw, 'start')
    return self
end

function tube:drop()
    if not state.is_running('drop') then
        return nil
    elseif tubes[self.name] ~= self then
        error('Tube not found')
    elseif #self.waiters > 0 then
        error('There are consumers connected the tube')
    elseif box.space._queue_leases.index.task:count{self.tube_id} > 0 then
        error('There are taken tasks in the tube')
    end
    call(self.raw, 'stop')
    box.atomic(function()
        box.space._queue:delete{self.name}
        box.space[self.name]:drop()
    end)
    tubes[self.name] = nil
    return true
end

tube.grant = require('queue.grants')

function registry.register_driver(name, driver)
    if type(driver) ~= 'table' or type(driver.create_space) ~= 'function' or type(driver.new) ~= 'function' then
        error('tube control methods must contain functions "create_space" and "new"')
    elseif drivers[name] ~= nil then
        error(('overriding registered driver "%s"'):format(name))
    end
    drivers[name] = driver
    if state.current == 'RUNNING' then
        for _, row in ipairs(box.space._queue:select{}) do
            if row[4] == name then
                resume(row)
            end
        end
    end
end

return registry
