-- The tubes there are and the drivers that make them. `_queue` keeps one line a tube, as the queue rock does.

local fifo = require('queue.fifo')
local fifottl = require('queue.fifottl')
local grants = require('queue.grants')
local leases = require('queue.leases')
local log = require('log')
local state = require('queue.state')
local tube = require('queue.tube')

local BURST = 1000      -- tasks given back in one transaction at start

local DRIVER_METHODS = {
    'normalize_task', 'put', 'take', 'delete', 'release', 'bury', 'kick', 'peek', 'touch', 'truncate', 'tasks_by_state',
}

local registry = {tubes = {}, drivers = {fifo = fifo, fifottl = fifottl}}
local tubes, drivers = registry.tubes, registry.drivers

local function attach(row)
    local self = tube.new(drivers[row[4]], row)
    for _, name in ipairs(DRIVER_METHODS) do
        if type(self.raw[name]) ~= 'function' then
            error(('The "%s" driver does not have an implementation of method "%s"'):format(row[4], name))
        end
    end
    tubes[self.name] = self
    return self
end

-- Nobody holds a task after a restart, or after another instance was the writable one.
local function release_taken(self)
    local taken
    repeat
        taken = {}
        for _, task in self.raw:tasks_by_state('t') do
            table.insert(taken, task[1])
            if #taken == BURST then
                break
            end
        end
        self:run(function()
            for _, id in ipairs(taken) do
                self.raw:release(id, {})
            end
        end)
    until #taken < BURST
end

local function open(row)
    if drivers[row[4]] == nil then
        log.warn('queue: tube "%s" is of type %s, which needs the "queue" rock: left alone', row[1], row[4])
        return
    end
    local self = tubes[row[1]] or attach(row)
    release_taken(self)
    self.raw:start()
end

function registry.startup()
    if box.space._queue == nil then
        local space = box.schema.space.create('_queue', {format = {
            {'tube_name', 'string'}, {'tube_id', 'unsigned'}, {'space_name', 'string'}, {'type', 'string'},
            {'opts', 'any'},
        }})
        space:create_index('tube', {type = 'tree', parts = {1, 'string'}})
        space:create_index('tube_id', {type = 'tree', parts = {2, 'unsigned'}})
    end
    for name in pairs(tubes) do
        if box.space._queue:get{name} == nil then
            tubes[name] = nil       -- dropped elsewhere while this instance was read-only
        end
    end
    for _, row in box.space._queue:pairs() do
        open(row)
    end
end

function registry.ending()
    for _, self in pairs(tubes) do
        self.raw:stop()
        self.wake_all()
    end
end

--- Give the tasks of these leases back. False when some could not be.
function registry.give_back(held)
    local by_id = {}
    for _, self in pairs(tubes) do
        by_id[self.tube_id] = self
    end
    local all = true
    for _, lease in ipairs(held) do
        local self = by_id[lease.tube_id]
        if self ~= nil then
            all = tube.give_back(self, lease.task_id) and all
        else
            leases.remove(lease.tube_id, lease.task_id)
        end
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
    end
    local driver = drivers[kind] or error(('Unknown tube type %s: the bundled queue module has fifo and fifottl, ' ..
        'other types need the "queue" rock (tt rocks install queue)'):format(kind))
    local kept = setmetatable({}, {__serialize = 'map'})
    for option, value in pairs(opts) do
        kept[option] = type(value) ~= 'function' and value or nil
    end
    local row = box.atomic(function()
        local space = driver.create_space(name, kept)
        local last = box.space._queue.index.tube_id:max()
        return box.space._queue:insert{name, last and last[2] + 1 or 0, space.name, kind, kept}
    end)
    local self = attach(row)
    self.callback = opts.on_task_change
    self.raw:start()
    return self
end

function tube.methods:drop()
    if not state.is_running('drop') then
        return nil
    elseif self.waiters:count() > 0 then
        error('There are consumers connected the tube')
    elseif #leases.of_tube(self.tube_id) > 0 then
        error('There are taken tasks in the tube')
    end
    self.raw:stop()
    box.atomic(function()
        box.space._queue:delete{self.name}
        box.space[self.name]:drop()
    end)
    tubes[self.name] = nil
    return true
end

function tube.methods:grant(user, opts)
    return grants.tube(self, user, opts)
end

function registry.register_driver(name, driver)
    if type(driver) ~= 'table' or type(driver.create_space) ~= 'function' or type(driver.new) ~= 'function' then
        error('tube control methods must contain functions "create_space" and "new"')
    elseif drivers[name] ~= nil then
        error(('overriding registered driver %s'):format(name))
    end
    drivers[name] = driver
    if state.current == 'RUNNING' then
        for _, row in box.space._queue.index.tube:pairs() do
            if row[4] == name then
                open(row)
            end
        end
    end
end

return registry
