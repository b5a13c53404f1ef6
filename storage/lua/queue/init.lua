-- Broadside's bundled `queue`: the tubes `fifo` and `fifottl` with the public behaviour of the `queue` rock 1.5.0.
-- Where the rock is installed it is used instead. Why this exists: docs/adr/0002-bundled-tubes.md.

local fiber = require('fiber')
local leases = require('queue.leases')
local registry = require('queue.registry')
local session = require('queue.session')
local state = require('queue.state')
local statistics = require('queue.statistics')

local tubes = registry.tubes
local api = {create_tube = registry.create, tube = tubes}

setmetatable(tubes, {__call = function(_, name)
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

function api.statistics(name)
    if not state.is_running('statistics') then
        return nil
    end
    if name ~= nil then
        return tubes[name] and statistics.of(tubes[name])
    end
    local all = {}
    for each, tube in pairs(tubes) do
        all[each] = statistics.of(tube)
    end
    return all
end

function api.identify(id)
    if state.is_running('identify') then
        return session.identify(id)
    end
end

local queue = {_VERSION = '1.5.0-broadside', driver = registry.drivers, register_driver = registry.register_driver}

function queue.state()
    state.ensure()
    return state.current
end

local VALID = {
    ttr = function(value) return type(value) == 'number' and value >= 0 end,
    in_replicaset = function(value) return type(value) == 'boolean' end,
}

queue.cfg = setmetatable({ttr = 0, in_replicaset = false}, {__call = function(self, opts)
    for option, value in pairs(opts or {}) do
        if VALID[option] == nil then
            error(('Unknown option: %s'):format(option))
        elseif not VALID[option](value) then
            error(('Invalid value of %s: %s'):format(option, tostring(value)))
        end
    end
    for option, value in pairs(opts or {}) do
        self[option] = value
    end
    session.ttr = self.ttr
end})

local watching = false

function state.startup()
    leases.start()
    registry.startup()
    if not watching then
        watching = true
        box.session.on_disconnect(function()
            box.session.su('admin', session.disconnect, box.session.id())
        end)
        fiber.create(function()
            fiber.name('queue.sessions')
            box.session.su('admin', session.sweep)
        end)
    end
end

function state.ending()
    registry.ending()
    leases.clear()
end

function session.on_gone(connection)
    for _, tube in pairs(tubes) do
        tube.waiters:dismiss(connection)
    end
end

function session.release(id)
    return state.current ~= 'RUNNING' or registry.give_back(leases.of_session(id))
end

state.ensure()
fiber.create(function()
    fiber.name('queue.state')
    state.follow()
end)

return setmetatable(queue, {__index = function(_, key)
    if api[key] ~= nil and not state.is_configured() then
        error('Please configure box.cfg{} in read/write mode first')
    end
    state.ensure()      -- the first use may come before the state fiber has had its turn
    return api[key]
end})
