-- The store's spaces: each step of steps/ makes one version of them from the one before.

local bring_up = require('roles.spaces')

local schema = {}

local STEPS = {
    require('roles.store.steps.step_1'), require('roles.store.steps.step_2'), require('roles.store.steps.step_3'),
    require('roles.store.steps.step_4'), require('roles.store.steps.step_5'), require('roles.store.steps.step_6'),
}

-- Bring the spaces to the newest version. Returns it.
function schema.migrate()
    return bring_up('store_meta', STEPS, 'store')
end

return schema
