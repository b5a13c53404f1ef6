-- A role's spaces and their versions: steps are done once, in their order, each whole or not at all.

package.path = require('fio').dirname(arg[0]) .. '/?.lua;' .. package.path
local support = require('support')
support.box()

local bring_up = require('roles.spaces')
local tubes = require('roles.tubes.steps.step_1')
local store = require('roles.store.steps.step_1')

local function version(keep)
    local row = box.space[keep]:get('schema')
    return row and row.value or 0
end

support.run('spaces', {

{'a step that ends in the middle leaves nothing, and is done again', function(t)
    t:plan(8)
    local made = {store_meta = 'store_pages', tubes_state = 'tubes_marks'}
    for keep, step in pairs({store_meta = store, tubes_state = tubes}) do
        local ok = pcall(bring_up, keep, {function() step() error('killed') end}, 'store')
        t:ok(not ok, 'it fails')
        t:is(version(keep), 0, 'no version')
        t:isnil(box.space[made[keep]], 'no space')
        t:is(bring_up(keep, {step}, 'store'), 1, 'all of it')
    end
end},

{'each step is done once, and a newer version is refused', function(t)
    t:plan(4)
    local done = {}
    local steps = {function() table.insert(done, 1) end, function() table.insert(done, 2) end}
    t:is(bring_up('other', {steps[1]}, 'store'), 1, 'the first')
    t:is(bring_up('other', steps, 'store'), 2, 'the second')
    t:is_deeply(done, {1, 2}, 'once each')
    local _, said = pcall(bring_up, 'other', {steps[1]}, 'store')
    t:is(said, 'the store has schema 2, this Broadside knows 1: start a newer Broadside', 'in a sentence')
end},

})
