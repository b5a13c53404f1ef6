-- Broadside's bundled `queue`: the tubes `fifo` and `fifottl` with the public behaviour of the `queue` rock 1.5.0.
-- Where the rock is installed it is used instead. Why this exists: docs/adr/0002-bundled-tubes.md.

local fifo = require('queue.fifo')
local fifottl = require('queue.fifottl')
local grants = require('queue.grants')
local leases = require('queue.leases')
local session = require('queue.session')
local state = require('queue.state')
local statistics = require('queue.statistics')
local transaction = require('queue.transaction')
local tube = require('queue.tube')

local log = require('log')

local BURST = 1000      -- tasks given back in one transaction at start

local DRIVER_METHODS = {
    'normalize_task', 'put', 'take', 'delete', 'release', 'bury', 'kick', 'peek', 'touch', 'truncate', 'tasks_by_state',
}

local drivers = {fifo = fifo, fifottl = fifottl}
local tubes = {}
local api = {}

local function unknown_type(kind)
    error(('Unknown tube type %s: the bundled queue module has fifo and fifottl, other types need the "queue" rock ' ..
        '(tt rocks install queue)'):format(tostring(kind)), 0)
end

local function attach(row)
    local driver = drivers[row[4]]
    if driver == nil then
        log.warn('queue: tube "%s" is of type %s, which needs the "queue" rock: left alone', row[1], row[4])
        return nil
    end
    local self = tube.new(driver, row)
    for _, name in ipairs(DRIVER_METHODS) do
        if type(self.raw[name]) ~= 'function' then
            error(('The "%s" driver does not have an implementation of method "%s"'):format(row[4], name))
        end
    end
    tubes[row[1]] = self
    return self
end

-- Nobody holds a task after a restart, or after another instance was the writable one.
local function give_back_all(self)
    while true do
        local taken = {}
        for _, task in self.raw:tasks_by_state('t') do
            table.insert(taken, task[1])
            if #taken == BURST then
                break
            end
        end
        self.run(function()
            for _, id in ipairs(taken) do
                self.raw:release(id, {})
            end
        end)
        if #taken < BURST then
            return
        end
    end
end

function state.startup()
    if box.space._queue == nil then
        transaction.run(function()
            local space = box.schema.space.create('_queue', {format = {
                {'tube_name', 'string'}, {'tube_id', 'unsigned'}, {'space_name', 'string'}, {'type', 'string'},
                {'opts', 'any'},
            }})
            space:create_index('tube', {type = 'tree', parts = {1, 'string'}})
            space:create_index('tube_id', {type = 'tree', parts = {2, 'unsigned'}})
        end)
    end
    leases.start()
    for name, self in pairs(tubes) do
        if box.space._queue:get{name} == nil then
            tubes[name] = nil
            self.raw:stop()
        end
    end
    for _, row in box.space._queue:pairs() do
        local self = tubes[row[1]] or attach(row)
        if self ~= nil then
            give_back_all(self)
            self.raw:start()
        end
    end
end

function state.ending()
    for _, self in pairs(tubes) do
        self.raw:stop()
        self.waiters:wake()
    end
    leases.space:truncate()
end

function session.on_gone(connection)
    for _, self in pairs(tubes) do
        self.waiters:dismiss(connection)
    end
end

function session.holds(id)
    return state.current == 'RUNNING' and #leases.of_session(id) > 0
end

function session.release(id)
    if state.current ~= 'RUNNING' then
        return true     -- STARTUP gives everything back
    end
    local by_id = {}
    for _, self in pairs(tubes) do
        by_id[self.tube_id] = self
    end
    local all = true
    for _, lease in ipairs(leases.of_session(id)) do
        local self = by_id[lease.tube_id]
        if self == nil then
            leases.remove(lease.tube_id, lease.task_id)
        elseif not tube.give_back(self, lease.task_id) then
            all = false
        end
    end
    return all
end

--- opts: temporary, if_not_exists, engine, on_task_change; fifottl: ttl, ttr, pri too.
function api.create_tube(name, kind, opts)
    if not state.is_running('create_tube') then
        return nil
    end
    opts = opts or {}
    if opts.if_not_exists and tubes[name] ~= nil then
        return tubes[name]
    end
    local driver = drivers[kind] or unknown_type(kind)
    local kept = setmetatable({}, {__serialize = 'map'})
    for option, value in pairs(opts) do
        if type(value) ~= 'function' then
            kept[option] = value
        end
    end
    local function create()
        local space = driver.create_space(name, kept)
        local last = box.space._queue.index.tube_id:max()
        return box.space._queue:insert{name, last and last[2] + 1 or 0, space.name, kind, kept}
    end
    local row = transaction.run(create)
    local self = attach(row)
    self.callback = opts.on_task_change
    self.raw:start()
    return self
end

local function drop(self)
    if self.waiters:count() > 0 then
        error('There are consumers connected the tube')
    end
    if #leases.of_tube(self.tube_id) > 0 then
        error('There are taken tasks in the tube')
    end
    self.raw:stop()
    transaction.run(function()
        box.space._queue:delete{self.name}
        if self.raw.drop ~= nil then
            self.raw:drop()
        else
            box.space[self.name]:drop()
        end
    end)
    tubes[self.name] = nil
    return true
end

function tube.methods:drop()
    return state.is_running('drop') and drop(self) or nil
end

function tube.methods:grant(user, opts)
    return grants.tube(self, user, opts)
end

function api.statistics(name)
    if not state.is_running('statistics') then
        return nil
    end
    if name ~= nil then
        return tubes[name] and statistics.of(tubes[name])
    end
    local all = {}
    for each, self in pairs(tubes) do
        all[each] = statistics.of(self)
    end
    return all
end

function api.identify(id)
    if not state.is_running('identify') then
        return nil
    end
    return session.identify(id)
end

api.tube = setmetatable(tubes, {__call = function(_, name)
    if name ~= nil then
        return tubes[name] ~= nil
    end
    local names = {}
    for each in pairs(tubes) do
        table.insert(names, each)
    end
    table.sort(names)
    return names
end})

local queue = {_VERSION = '1.5.0-broadside', driver = drivers}

function queue.state()
    return state.current
end

function queue.register_driver(name, driver)
    if type(driver) ~= 'table' or type(driver.create_space) ~= 'function' or type(driver.new) ~= 'function' then
        error('tube control methods must contain functions "create_space" and "new"')
    end
    if drivers[name] ~= nil then
        error(('overriding registered driver %s'):format(name))
    end
    drivers[name] = driver
    if state.current ~= 'RUNNING' then
        return
    end
    for _, row in box.space._queue:pairs() do
        if row[4] == name then
            attach(row)
            give_back_all(tubes[row[1]])
            tubes[row[1]].raw:start()
        end
    end
end

local CHECKS = {
    ttr = function(value) return type(value) == 'number' and value >= 0 end,
    in_replicaset = function(value) return type(value) == 'boolean' end,
}

queue.cfg = setmetatable({ttr = 0, in_replicaset = false}, {__call = function(self, opts)
    for option, value in pairs(opts or {}) do
        if CHECKS[option] == nil then
            error(('Unknown option: %s'):format(tostring(option)))
        elseif not CHECKS[option](value) then
            error(('Invalid value of %s: %s'):format(option, tostring(value)))
        end
    end
    for option, value in pairs(opts or {}) do
        self[option] = value
    end
    session.ttr = self.ttr
end})

session.start()
state.ensure()
state.follow()

return setmetatable(queue, {__index = function(_, key)
    if api[key] == nil then
        return nil
    end
    if not state.is_configured() then
        error('Please configure box.cfg{} in read/write mode first')
    end
    -- The first use may come before the state fiber has had its turn.
    if state.current == 'INIT' then
        state.ensure()
    end
    return api[key]
end})
