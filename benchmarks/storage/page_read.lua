-- What one row costs page_read, with and without an audience: tarantool page_read.lua LUA_FOLDER WORK_FOLDER [ROWS].
-- Prints one JSON object, µs of the processor a row, and the longest slice of an exact count.

package.path = ('%s/?.lua;%s/?/init.lua;%s'):format(arg[1], arg[1], package.path)
local clock = require('clock')
local json = require('json')
box.cfg{work_dir = arg[2], log = arg[2] .. '/log', wal_mode = 'none', memtx_memory = 2 * 1024 * 1024 * 1024}
require('roles.store.schema').migrate()
local page_read = require('roles.store.page_read')

local ROWS = tonumber(arg[3] or 200000)
local PAGE, BATCH, ROUNDS = 2000, 500, 5
local CHANNELS = {'ios-news', 'android-news'}
local LOCALES = {'de', 'fr', 'pt-BR', 'en-US', 'es'}
local COUNTRIES = {'DE', 'FR', 'BR', 'US', 'ES'}
local ZONES = {'Europe/Berlin', 'Europe/Paris', 'America/Sao_Paulo', 'America/New_York', 'Europe/Madrid'}
local TAGS = {{'sport', 'news'}, {'politics', 'sport', 'weather'}, {}, {'culture'}, {'news', 'weather'}}
local FIELDS = setmetatable({}, {__serialize = 'map'})

box.begin()
for id = 1, ROWS do
    local n = id % 5 + 1
    local tags = TAGS[(id * 7 + math.floor(id / 5)) % 5 + 1]
    box.space.store_subscribers:insert({
        id, CHANNELS[id % 2 + 1], ('%064x'):format(id), 'token', 1800000000000, LOCALES[n], ZONES[n], COUNTRIES[n],
        ('5.%d.1'):format(id % 40), '', id % 3 == 0 and 480 or box.NULL, tags, FIELDS,
    })
    if id % 1000 == 0 then
        box.commit()
        box.begin()
    end
end
box.commit()

local MAP = {__serialize = 'map'}
local campaigns = 0
local function campaign(where)
    campaigns = campaigns + 1
    local audience = setmetatable({channels = CHANNELS, where = where and setmetatable(where, MAP)}, MAP)
    box.space.store_campaigns:insert({
        campaigns, 1, 'firing', '{}', audience, setmetatable({}, MAP), 1, 1, 0, 0, 0,
    })
    return campaigns
end

local function measure(id)
    local best = math.huge
    for _ = 1, ROUNDS do
        local started = clock.thread()
        for from = 0, ROWS - 1, PAGE do
            page_read(from, from + PAGE, nil, BATCH, id)
        end
        best = math.min(best, (clock.thread() - started) / ROWS * 1e6)
    end
    return math.floor(best * 1000 + 0.5) / 1000
end

local found = {}
found.none = measure(nil)
found.channel = measure(campaign({}))
found.nearly_all = measure(campaign({
    locales = {'de', 'fr', 'pt', 'en', 'es'}, countries = COUNTRIES, tags_none = {'crime', 'games'},
}))
found.four = measure(campaign({
    locales = {'de', 'pt', 'en'}, countries = {'DE', 'BR', 'US'}, tags_any = {'sport', 'weather'},
}))
found.share = measure(campaign({share = {share = 0.05, salt = 'story'}}))
found.versions = measure(campaign({app_version = {{'>=', {5, 2}}, {'<', {5, 20}}}}))
for _ = 1, 200 do -- a long life: each campaign is compiled and asked
    local id = campaign({locales = {'de', 'pt'}, tags_any = {'sport'}, countries = {'DE', 'BR'}})
    page_read(0, PAGE, nil, BATCH, id)
end
found.later = measure(campaign({
    locales = {'de', 'pt', 'en'}, countries = {'DE', 'BR', 'US'}, tags_any = {'sport', 'weather'},
}))
found.none_again = measure(nil)

local audience_in = require('roles.store.audience_count').audience_in
local where = {locales = {'de', 'pt', 'en'}, countries = {'DE', 'BR', 'US'}, tags_any = {'sport', 'weather'}}
local started, at, longest = clock.thread(), 0, 0
while at < ROWS do
    local began, _ = clock.thread()
    _, at = audience_in(nil, nil, where, nil, at, ROWS, 1000, nil) -- its slice
    longest = math.max(longest, clock.thread() - began)
end
found.count = math.floor((clock.thread() - started) / ROWS * 1e9 + 0.5) / 1000
found.slice_ms = math.floor(longest * 1e6 + 0.5) / 1000
print(json.encode(found))
os.exit(0)
