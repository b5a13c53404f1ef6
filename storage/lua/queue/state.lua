-- The states of the queue on this instance: INIT before box.cfg, STARTUP while the tasks that were taken when the
-- instance stopped are given back, RUNNING, ENDING while waiters are sent away, WAITING while it is read-only.

local fiber = require('fiber')
local log = require('log')

local state = {current = 'INIT'}    -- init.lua sets startup() and ending(), the work of these two states
local changed = fiber.cond()

local function enter(name)
    log.info('queue: %s', name)
    state.current = name
    changed:broadcast()
end

function state.is_running(method)
    if state.current ~= 'RUNNING' then
        log.error('%s: queue is in %s state', method, state.current)
    end
    return state.current == 'RUNNING'
end

--- Bring the queue up if the instance is configured and writable. Fibers that call it meanwhile wait.
function state.ensure()
    while state.current == 'STARTUP' do
        changed:wait()
    end
    local before = state.current
    if before ~= 'RUNNING' and type(box.cfg) ~= 'function' and not box.info.ro then
        enter('STARTUP')
        local ok, failure = pcall(box.session.su, 'admin', state.startup)
        enter(ok and 'RUNNING' or before)
        if not ok then
            error(failure, 0)
        end
    end
end

--- Follow the instance between writable and read-only, for the life of the process.
function state.follow()
    while true do
        box.ctl.wait_rw()
        local ok, failure = pcall(state.ensure)
        if ok then
            box.ctl.wait_ro()
            enter('ENDING')
            state.ending()
            enter('WAITING')
        else
            log.error('queue: could not start, trying again: %s', tostring(failure))
            fiber.sleep(1)
        end
    end
end

return state
