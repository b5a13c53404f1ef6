-- An audience counted, exactly or by an estimate: whoever else wants Tarantool's thread has it again and again.

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

{'rows are found by ids of every length, and none for ids that are nobody\'s', function(t)
    box.space.store_subscribers:truncate()
    local ids = {1, 127, 128, 255, 256, 65535, 65536, 2 ^ 24, 2 ^ 31, 2 ^ 32 - 1, 2 ^ 32, 2 ^ 40 + 7, 2 ^ 53 - 1}
    for _, id in ipairs(ids) do
        box.space.store_subscribers:insert({id, 'ios', 't' .. id, 'token', 1, 'de', '', 'DE', '5.1', '', box.NULL, {}, EMPTY})
    end
    local asked = {}
    for _, id in ipairs(ids) do
        table.insert(asked, id)
        table.insert(asked, id + 1)
    end
    table.sort(asked)
    local found = audience_count.audience_in(nil, nil, {}, asked, 0, 2 ^ 53, 4000)
    t:plan(1)
    t:is_deeply(found.ios, {#ids + 4, 0, 0, 0}, '128, 256, 65536 and 2 ^ 32 are asked for twice')
end},

{'an estimate draws as many as it is asked for, finds all whom it draws, and lets others have the thread', function(t)
    box.space.store_subscribers:truncate()
    for id = 1, 300 do
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
    local drawn = audience_count.audience_sample(nil, {locales = {'de'}}, 10000).ios
    local seen = turns
    ended = true
    t:plan(3)
    t:is(drawn[1] + drawn[2], 10000)
    t:ok(drawn[1] > 3000 and drawn[1] < 3700, 'a third of them')
    t:ok(seen >= 9, 'turns of others')
end},

})
