-- The queue's own spaces, beside the tubes' (those are Tarantool Queue's): each step of steps/ makes one version of
-- them from the one before.

local bring_up = require('roles.spaces')

local schema = {}

local STEPS = {require('roles.tubes.steps.step_1')}

-- Bring the spaces to the newest version. Returns it.
function schema.migrate()
    return bring_up('tubes_state', STEPS, 'queue')
end

return schema
