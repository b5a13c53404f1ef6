-- A page's subscribers by channel, as batches carry them: every row once, in order, its fields as they are.

package.path = require('fio').dirname(arg[0]) .. '/?.lua;' .. package.path
local support = require('support')
local msgpack = require('msgpack')

support.box()
require('roles.store.schema').migrate()
local page_read = require('roles.store.page_read')
local space = box.space.store_subscribers
local EMPTY = setmetatable({}, {__serialize = 'map'})
local ALL = 2 ^ 53

for id = 7, 9 do -- the campaigns that are read for
    box.space.store_campaigns:insert({id, 1, 'firing', '', EMPTY, EMPTY, 1, 1, 0, 0, 0})
end

local function add(id, channel, token, kind, registered_at, locale)
    space:insert({id, channel, token, kind or 'token', registered_at or 1, locale or 'de', 'Europe/Berlin', 'DE', '5.1', '',
                  box.NULL, {'news', 'sport'}, {first_name = 'Ada'}})
    return {id, token, kind or 'token', registered_at or 1, locale or 'de'}
end

local function rows_of(part)
    return (msgpack.decode(part[3]))
end

local kept_pages = require('roles.kept_pages')

local function fresh()
    space:truncate()
end

support.run('page_read', {

{'ids, numbers and texts of every length come out as they are', function(t)
    fresh()
    local expected = {}
    local ids = {1, 127, 128, 255, 256, 65535, 65536, 2 ^ 24, 2 ^ 32 - 1, 2 ^ 32, 2 ^ 40 + 7, 2 ^ 53 - 1}
    local lengths = {1, 31, 32, 255, 256, 4096, 64, 163, 2, 65536, 3, 33}
    for i, id in ipairs(ids) do
        table.insert(expected, add(id, 'ios', ('t'):rep(lengths[i]), i % 2 == 0 and 'fid' or 'token', id, ('l'):rep(i % 3)))
    end
    local found = page_read(0, ALL, nil, 500)
    t:plan(3)
    t:is(#found, 1)
    t:is_deeply({found[1][1], found[1][2]}, {'ios', #ids})
    t:is_deeply(rows_of(found[1]), expected)
end},

{'channels of every length have parts of their own, each in the order of the ids', function(t)
    fresh()
    local names = {'a', ('b'):rep(31), ('c'):rep(32), 'ios-news'}
    local expected = {}
    for id = 1, 400 do
        local name = names[id % 3 + 1] -- nobody is on ios-news
        expected[name] = expected[name] or {}
        table.insert(expected[name], add(id, name, 't' .. id))
    end
    local found = page_read(0, ALL, nil, 500)
    t:plan(1 + 3)
    t:is(#found, 3)
    for _, part in ipairs(found) do
        t:is_deeply(rows_of(part), expected[part[1]], part[1]:sub(1, 1))
    end
end},

{'no part is larger than it may be, and together they have everybody once', function(t)
    fresh()
    for id = 1, 1700 do
        add(id, id % 4 == 0 and 'ios' or 'android', 't' .. id)
    end
    local found, seen, sizes = page_read(0, ALL, nil, 500), {}, {}
    local ordered = true
    for _, part in ipairs(found) do
        table.insert(sizes, part[2])
        local rows = rows_of(part)
        ordered = ordered and #rows == part[2]
        for i, row in ipairs(rows) do
            ordered = ordered and (i == 1 or row[1] > rows[i - 1][1])
            seen[row[1]] = (seen[row[1]] or 0) + 1
        end
    end
    table.sort(sizes)
    local everybody = true
    for id = 1, 1700 do
        everybody = everybody and seen[id] == 1
    end
    t:plan(3)
    t:is_deeply(sizes, {275, 425, 500, 500})
    t:ok(ordered, 'sizes and order are those of the rows')
    t:ok(everybody, 'everybody once')
end},

{'only the range that is asked for, and all of it, whatever limit an earlier version sends', function(t)
    fresh()
    for id = 10, 100, 10 do
        add(id, 'ios', 't' .. id)
    end
    local function ids(...)
        local list = {}
        for _, part in ipairs(page_read(...)) do
            for _, row in ipairs(rows_of(part)) do
                table.insert(list, row[1])
            end
        end
        return list
    end
    t:plan(5)
    t:is_deeply(ids(20, 50, nil, 500), {30, 40, 50}, '(from, to]')
    t:is_deeply(ids(25, 55, nil, 500), {30, 40, 50}, 'ids that are nobody’s')
    t:is_deeply(ids(0, 30, 2, 500), {10, 20, 30}, 'a limit of an earlier version')
    t:is_deeply(ids(100, ALL, nil, 500), {}, 'nobody')
    t:is_deeply(ids(0, ALL, nil, 1), {10, 20, 30, 40, 50, 60, 70, 80, 90, 100}, 'parts of one')
end},

{'a large page is read in slices, and has everybody once, in order', function(t)
    fresh()
    for id = 1, 9500 do
        add(id, 'ios', 't' .. id)
    end
    local last, ordered, count = 0, true, 0
    for _, part in ipairs(page_read(0, ALL, nil, 500)) do
        for _, row in ipairs(rows_of(part)) do
            ordered, last, count = ordered and row[1] == last + 1, row[1], count + 1
        end
    end
    t:plan(2)
    t:ok(ordered)
    t:is(count, 9500)
end},

{'with window classes each part has one, and tells how many of which zone it has', function(t)
    fresh()
    for id = 1, 60 do
        add(id, 'ios', 't' .. id)
        space:update(id, {{'=', 'tz', ({'Europe/Berlin', 'Asia/Tokyo', ''})[id % 3 + 1]}})
    end
    require('roles.store.windows').keep(7, {{['Europe/Berlin'] = 2, ['Asia/Tokyo'] = 5}, {android = 'Asia/Tokyo'}, '', 1}, 1)
    local found = {}
    for _, part in ipairs(page_read(0, ALL, nil, 15, 7)) do
        table.insert(found, {part[4], part[2], part[5]})
    end
    t:plan(2)
    t:is_deeply(found, {
        {5, 15, {['Asia/Tokyo'] = 15}}, {0, 15, {}}, {2, 15, {['Europe/Berlin'] = 15}},
        {5, 5, {['Asia/Tokyo'] = 5}}, {0, 5, {}}, {2, 5, {['Europe/Berlin'] = 5}},
    })
    t:is(#page_read(0, ALL, nil, 500, 8), 1, 'another campaign has no classes')
end},

{'at the best times of an earlier version each half hour of the day is a class of its own', function(t)
    fresh()
    for id, minute in ipairs({0, 29, 30, 1439, box.NULL}) do
        add(id, 'ios', 't' .. id)
        space:update(id, {{'=', 'best_minute', minute}})
    end
    require('roles.store.windows').keep(9, {{['Europe/Berlin'] = 100}, {}, '', 1, true}, 1)
    local found = {}
    for _, part in ipairs(page_read(0, ALL, nil, 15, 9)) do
        table.insert(found, {part[4], part[2]})
    end
    t:plan(1)
    t:is_deeply(found, {{100, 2}, {101, 1}, {147, 1}, {148, 1}})
end},

{'half hours of several zones that have one class share its parts, which tell how many of which zone they have', function(t)
    fresh()
    for id, at in ipairs({{'Europe/Berlin', 60}, {'Europe/London', 0}, {'Europe/Berlin', 0}, {'Europe/Vienna', 75}}) do
        add(id, 'ios', 't' .. id)
        space:update(id, {{'=', 'tz', at[1]}, {'=', 'best_minute', at[2]}})
    end
    add(5, 'ios', 't5')
    local berlin, london = {}, {}
    for slot = 0, 48 do
        berlin[slot + 1], london[slot + 1] = slot + 1, slot + 3
    end
    box.space.store_windows:truncate()
    local zones = {['Europe/Berlin'] = berlin, ['Europe/London'] = london, ['Europe/Vienna'] = 'Europe/Berlin'}
    box.space.store_campaigns:insert({10, 1, 'firing', '', EMPTY, EMPTY, 1, 1, 0, 0, 0})
    require('roles.store.windows').keep(10, {zones, {}, '', 1, true}, 1)
    local found = {}
    for _, part in ipairs(page_read(0, ALL, 1000, 15, 10)) do
        table.insert(found, {part[4], part[2], part[5]})
    end
    t:plan(1)
    t:is_deeply(found, {
        {3, 3, {['Europe/Berlin'] = 1, ['Europe/London'] = 1, ['Europe/Vienna'] = 1}},
        {1, 1, {['Europe/Berlin'] = 1}}, {49, 1, {['Europe/Berlin'] = 1}},
    })
end},

{'a campaign with personal fields carries their values, in its own order, and nothing else', function(t)
    fresh()
    local many = {}
    for i = 1, 50 do
        many['field_' .. i] = ('v'):rep(i * 20)
    end
    many.first_name = 'Zoë'
    local people = {
        {{first_name = 'Ada', team = 'Reds'}, {'Reds', 'Ada', ''}},
        {EMPTY, {'', '', ''}},
        {{team = ('x'):rep(128), first_name = ('x'):rep(129)}, {('x'):rep(128), '', ''}},
        {many, {'', 'Zoë', ''}},
        {{city = '', first_name = ('y'):rep(31), team = ('z'):rep(32)}, {('z'):rep(32), ('y'):rep(31), ''}},
        {{city = ('c'):rep(1000), team = '"\\ \226\128\168 \240\159\145\169'}, {'"\\ \226\128\168 \240\159\145\169', '', ''}},
    }
    for id, person in ipairs(people) do
        space:insert({id, 'ios', 't' .. id, 'token', 1, 'de', '', '', '', '', box.NULL, {}, person[1]})
    end
    local rows = rows_of(page_read(0, ALL, nil, 500, nil, {'team', 'first_name', 'city'})[1])
    t:plan(2 * #people + 1)
    for id, person in ipairs(people) do
        t:is(#rows[id], 6)
        t:is_deeply(rows[id][6], person[2], 'values of ' .. id)
    end
    t:is(#rows_of(page_read(0, ALL, nil, 500)[1])[1], 5, 'a campaign without any carries none')
end},

{'a page that is kept has the same parts as one that is read, without their rows, until it is dropped', function(t)
    fresh()
    for id = 1, 40 do
        add(id, id % 3 == 0 and 'ios' or 'android', 't' .. id)
    end
    local read = page_read(0, ALL, nil, 9)
    local parts, skipped, name = page_read(0, ALL, nil, 9, nil, nil, nil, nil, nil, true)
    t:plan(3 + 3 * #read + 4)
    t:is(#parts, #read)
    t:is_deeply(skipped, {})
    local pages, octets = kept_pages.usage()
    t:is(pages, 1)
    for n, part in ipairs(read) do
        t:is_deeply({parts[n][1], parts[n][2], parts[n][4]}, {part[1], part[2], part[4]})
        t:is(parts[n][3], '', 'no rows')
        t:is(kept_pages.part(name, n), part[3], 'they are kept')
        octets = octets - #part[3]
    end
    t:is(octets, 0, 'and counted')
    t:isnil(kept_pages.part(name, #read + 1), 'there is no other part')
    t:isnil(kept_pages.part(('%s 1'):format(require('uuid').str()), 1), "another process's page has another name")
    kept_pages.drop(name)
    t:is_deeply({kept_pages.has(name), kept_pages.usage()}, {false, 0, 0})
end},

{'a page that nobody puts is dropped in the end', function(t)
    fresh()
    add(1, 'ios', 't')
    local _, _, name = page_read(0, ALL, nil, 9, nil, nil, nil, nil, nil, true)
    local fiber, real = require('fiber'), require('fiber').clock
    local _, _, second = page_read(0, ALL, nil, 9, nil, nil, nil, nil, nil, true)
    t:plan(2)
    t:is_deeply({kept_pages.has(name), kept_pages.has(second)}, {true, true})
    fiber.clock = function() return real() + 61 end
    local _, _, third = page_read(0, ALL, nil, 9, nil, nil, nil, nil, nil, true)
    fiber.clock = real
    t:is_deeply({kept_pages.has(name), kept_pages.has(second), kept_pages.has(third)}, {false, false, true})
    kept_pages.drop(third)
end},

})
