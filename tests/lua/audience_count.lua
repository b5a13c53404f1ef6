-- An exact count of an audience: whoever else wants Tarantool's thread has it again and again.

package.path = require('fio').dirname(arg[0]) .. '/?.lua;' .. package.path
local fiber = require('fiber')
local support = require('support')

support.box()
require('roles.store.schema').migrate()
local audience_count = require('roles.store.audience_count')
local EMPTY = setmetatable({}, {__serialize = 'map'})

support.run('audience_count', {

{'a call that counts thousands of rows lets others have the thread after each thousand, and counts all of them', function(t)
    for id = 1, 4500 do
        box.space.store_subscribers:insert({id, 'ios', 't' .. id, 'token', 1, id % 3 == 0 and 'de' or 'fr', '', 'DE', '5.1', '',
                                            box.NULL, {}, EMPTY})
    end
    local turns, ended = 0, false
    fiber.create(function()
        while not ended do
            turns = turns + 1
            fiber.yield()
        end
    end)
    turns = 0
    local first, upto = audience_count.audience_in(nil, nil, {locales = {'de'}}, nil, 0, 4500, 4000)
    local seen = turns
    local second, last = audience_count.audience_in(nil, nil, {locales = {'de'}}, nil, upto, 4500, 4000)
    ended = true
    t:plan(5)
    t:ok(seen >= 3, 'turns of others')
    t:is(upto, 4000)
    t:is_deeply(first.ios, {1333, 2667, 0, 0})
    t:is(last, 4500)
    t:is_deeply(second.ios, {167, 333, 0, 0})
end},

})
