-- Broadside's bundled `queue`: the tubes `fifo` and `fifottl` with the public behaviour of the `queue` rock 1.5.0.
-- `[queue] module = "rock"` takes the rock instead (queue_module.lua). Why this exists: docs/adr/0002-bundled-tubes.md.

local fiber = require('fiber')
local registry = require('queue.registry')
local session = require('queue.session')
local state = require('queue.state')

local tubes = setmetatable(registry.tubes, {__call = function(tubes, name)
    if name ~= nil and type(name) ~= 'string' then
        error('argument #1 should be string or nil')
    elseif name ~= nil then
        return tubes[name] ~= nil
    end
    local names = {}
    for each in pairs(tubes) do
        table.insert(names, each)
    end
    table.sort(names)
    return names
end})

local function statistics(name)
    if name ~= nil then
        return tubes[name] and tubes[name]:statistics()
    end
    local all = {}
    for each, tube in pairs(tubes) do
        all[each] = tube:statistics()
    end
    return all
end

-- What needs box.cfg{} first.
local api = {create_tube = registry.create, tube = tubes, statistics = statistics, stats = statistics,
             identify = session.identify}

local queue = {_VERSION = '1.5.0-broadside', driver = registry.drivers, register_driver = registry.register_driver,
               cfg = require('queue.cfg')}

function queue.state()
    state.ensure()
    return state.current
end

local function gone(connection)
    for _, tube in pairs(tubes) do
        tube.waiters:dismiss(connection)
    end
    session.leave(connection)
end

local watching = false

function state.startup()
    registry.startup()
    if not watching then
        watching = true
        box.session.on_disconnect(function()
            box.session.su('admin', gone, box.session.id())
        end)
        fiber.create(function()
            fiber.name('queue.sessions')
            box.session.su('admin', session.sweep)
        end)
    end
end

state.ending = registry.ending

function session.release(id)
    return state.current ~= 'RUNNING' or registry.give_back(id)
end

state.ensure()
fiber.create(function()
    fiber.name('queue.state')
    state.follow()
end)

return setmetatable(queue, {__index = function(_, key)
    if api[key] ~= nil then
        state.ensure()      -- the first use may come before the state fiber has had its turn
        if state.current == 'INIT' then
            error('Please configure box.cfg{} in read/write mode first')
        end
    end
    return api[key]
end})
