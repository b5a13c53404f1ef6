-- What every test of the tubes needs: the module's path, a work folder, an instance, clients.

local fiber = require('fiber')
local fio = require('fio')
local netbox = require('net.box')
local tap = require('tap')

local support = {}

local here = fio.dirname(fio.abspath(arg[0]))
support.here = here
-- QUEUE_LUA: where to find `queue`, when not the bundled one is to be tested.
local lua = os.getenv('QUEUE_LUA') or fio.pathjoin(here, '../../storage/lua')
package.path = ('%s/?.lua;%s/?/init.lua;%s'):format(lua, lua, package.path)

support.dir = os.getenv('QUEUE_TEST_DIR') or fio.tempdir()
support.socket = fio.pathjoin(support.dir, 's')

--- Start the instance. `opts` go to box.cfg.
function support.box(opts)
    local all = {work_dir = support.dir, log = fio.pathjoin(support.dir, 'log'), memtx_memory = 64 * 1024 * 1024}
    if box.internal.feedback_daemon ~= nil then
        all.feedback_enabled = false
    end
    for key, value in pairs(opts or {}) do
        all[key] = value
    end
    box.cfg(all)
end

--- The instance with `queue` as a global, listening; everybody may do everything.
function support.queue(opts)
    support.box(opts)
    _G.queue = require('queue')
    box.schema.user.grant('guest', 'super', nil, nil, {if_not_exists = true})
    box.cfg{listen = support.socket}
    return _G.queue
end

function support.client(user, password)
    return netbox.connect(support.socket, {user = user, password = password})
end

--- Wait until `condition()` holds, 10 s at most; returns whether it does.
function support.eventually(condition)
    local deadline = fiber.clock() + 10
    while not condition() do
        if fiber.clock() > deadline then
            return false
        end
        fiber.sleep(0.002)
    end
    return true
end

--- Run `operation(...)` in a fiber; the returned function waits for it and gives its results.
function support.background(operation, ...)
    local results
    local args, n = {...}, select('#', ...)
    fiber.create(function()
        results = {pcall(operation, unpack(args, 1, n))}
    end)
    return function()
        support.eventually(function() return results ~= nil end)
        return unpack(results or {})
    end
end

--- Does operation(...) fail with a message that ends in `text`?
function support.fails(test, text, name, operation, ...)
    local ok, failure = pcall(operation, ...)
    failure = tostring(failure)
    test:ok(not ok and failure:sub(-#text) == text, name, {got = failure, expected = text})
end

--- Run laws = {{name, function(test)}, …} as one TAP suite and leave the process.
function support.run(suite, laws)
    local test = tap.test(suite)
    test:plan(#laws)
    for _, law in ipairs(laws) do
        test:test(law[1], function(t)
            local ok, failure = pcall(law[2], t)
            if not ok then
                t:fail(tostring(failure))
            end
        end)
    end
    os.exit(test:check() and 0 or 1)
end

return support
