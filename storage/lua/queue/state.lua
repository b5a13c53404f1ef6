-- The states of the queue on this instance: INIT before box.cfg, STARTUP while the tasks that were taken when the
-- instance stopped are given back, RUNNING, ENDING while waiters are sent away, WAITING while it is read-only.

local fiber = require('fiber')
local log = require('log')

local state = {
    current = 'INIT',
    --- Do the work of STARTUP; returns false when it cannot be done yet. Set by init.lua.
    startup = function() return true end,
    --- Do the work of ENDING. Set by init.lua.
    ending = function() end,
}

local settled = fiber.cond()

local function enter(name)
    log.info('queue: %s', name)
    state.current = name
    settled:broadcast()
end

function state.is_running(method)
    if state.current == 'RUNNING' then
        return true
    end
    log.error('%s: queue is in %s state', method, state.current)
    return false
end

function state.is_configured()
    return type(box.cfg) ~= 'function'
end

local function startup()
    local before = state.current
    enter('STARTUP')
    local ok, failure = pcall(state.startup)
    enter(ok and 'RUNNING' or before)
    if not ok then
        error(failure, 0)
    end
end

--- Bring the queue up if the instance is configured, writable and it is not up yet. Those who come in the meantime
--- wait for it.
function state.ensure()
    while state.current == 'STARTUP' do
        settled:wait()
    end
    if state.current == 'RUNNING' or not state.is_configured() then
        return
    end
    if not box.info.ro then
        box.session.su('admin', startup)
    end
end

local function follow()
    while true do
        box.ctl.wait_rw()
        local ok, failure = pcall(state.ensure)
        if not ok then
            log.error('queue: could not start, trying again: %s', tostring(failure))
            fiber.sleep(1)
        elseif state.current == 'RUNNING' then
            box.ctl.wait_ro()
            enter('ENDING')
            state.ending()
            enter('WAITING')
        end
    end
end

--- Follow the instance between read-only and writable, for the life of the process.
function state.follow()
    fiber.create(function()
        fiber.name('queue.state')
        follow()
    end)
end

return state
