-- Version 5: what makes a campaign trustworthy.

local step = {}

-- `put_at`: when the page's owner told that it is on its tubes, ms by the store's own clock.
local function explained()
    local pages = box.space.store_pages
    local format = pages:format()
    for _, field in ipairs(format) do
        if field.name == 'put_at' then
            return -- it was killed behind this
        end
    end
    table.insert(format, {name = 'put_at', type = 'unsigned', is_nullable = true})
    pages:format(format)
end

-- A page of version 1 that is under way has none of the later fields: `put_at` is set behind them.
local function lengthened()
    local pages = box.space.store_pages
    for _, state in ipairs({'claimed', 'enqueued', 'open'}) do
        for _, page in ipairs(pages.index.state:select({state})) do
            local key = {page[1], page[2], page[3]}
            for field = #page + 1, 15 do
                pages:update(key, {{'=', field, box.NULL}})
            end
        end
    end
end

-- What became of those who were not simply delivered to, by page: `ids` as campaigns/id_set.py packs them; `rest`: all of
-- the page but these. And who has left the base, or has another token: `digest` is the token's, never the token.
local function answers()
    local kept = box.schema.space.create('store_answers', {format = {
        {'campaign', 'unsigned'}, {'segment', 'unsigned'}, {'seq', 'unsigned'}, {'number', 'unsigned'},
        {'outcome', 'string'}, {'reason', 'string'}, {'attempt', 'unsigned'}, {'node', 'string'}, {'at', 'unsigned'},
        {'recipients', 'unsigned'}, {'ids', 'array'}, {'rest', 'boolean'},
    }})
    kept:create_index('id', {parts = {'campaign', 'segment', 'seq', 'number'}})
    local gone = box.schema.space.create('store_departures', {format = {
        {'number', 'unsigned'}, {'digest', 'string'}, {'channel', 'string'}, {'subscriber', 'unsigned'},
        {'at', 'unsigned'}, {'why', 'string'}, {'other', 'unsigned'},
    }})
    gone:create_index('number', {parts = {'number'}})
    gone:create_index('digest', {parts = {'digest', 'number'}})
    gone:create_index('subscriber', {parts = {'subscriber', 'number'}})
end

-- The content guard (repeats.lua). `text`: the fingerprint of a text; `at`: when its campaign starts, ms UTC; `channels`:
-- empty: all.
local function guards()
    local repeats = box.schema.space.create('store_repeats', {format = {
        {'text', 'string'}, {'campaign', 'unsigned'}, {'at', 'unsigned'}, {'channels', 'array'},
    }})
    repeats:create_index('text', {parts = {'text', 'campaign'}})
    repeats:create_index('at', {parts = {'at'}, unique = false})
    -- The canaries whose rest is not decided yet, and those that were stopped (canaries.lua): `stopped_at`, ms UTC, or 0.
    local canaries = box.schema.space.create('store_canaries', {format = {
        {'campaign', 'unsigned'}, {'stopped_at', 'unsigned'},
    }})
    canaries:create_index('campaign', {parts = {'campaign'}})
end

-- How soon after Fire pushes were accepted (`counts`: class of time -> pushes, roles/store/reach.lua), and what each node
-- has learnt of its channels (`text`: campaigns/experience.py, as JSON; `at`: ms UTC).
local function forecast()
    local reach = box.schema.space.create('store_reach', {format = {
        {'campaign', 'unsigned'}, {'channel', 'string'}, {'node', 'string'}, {'counts', 'map'},
    }})
    reach:create_index('id', {parts = {'campaign', 'channel', 'node'}})
    local experience = box.schema.space.create('store_experience', {format = {
        {'node', 'string'}, {'text', 'string'}, {'at', 'unsigned'},
    }})
    experience:create_index('node', {parts = {'node'}})
    experience:create_index('at', {parts = {'at', 'node'}})
end

local function outward()
    -- What became of subscribers, for the app's backend: a row has those of one call. `sum`: how many there were up to
    -- and with this row; `entries`: {subscriber, token, other} each, see feed.lua. `at`: ms UTC.
    local feed = box.schema.space.create('store_feed', {format = {
        {'number', 'unsigned'}, {'sum', 'unsigned'}, {'at', 'unsigned'}, {'kind', 'string'}, {'channel', 'string'},
        {'campaign', 'unsigned'}, {'subscribers', 'unsigned'}, {'entries', 'array'},
    }})
    feed:create_index('number', {parts = {'number'}})
    -- Each change of a campaign's state, for the webhooks.
    local changes = box.schema.space.create('store_changes', {format = {
        {'number', 'unsigned'}, {'at', 'unsigned'}, {'campaign', 'unsigned'}, {'state', 'string'},
    }})
    changes:create_index('number', {parts = {'number'}})
    -- How far each webhook's receiver has heard them. `failing_since`: ms UTC, 0 if it does not fail.
    local webhooks = box.schema.space.create('store_webhooks', {format = {
        {'name', 'string'}, {'cursor', 'unsigned'}, {'heard_at', 'unsigned'}, {'failing_since', 'unsigned'},
        {'tries', 'unsigned'}, {'error', 'string'}, {'missed', 'unsigned'},
    }})
    webhooks:create_index('name', {parts = {'name'}})
end

-- The one key that signs certificates; `private`: its 32 octets in base64.
local function signing()
    local keys = box.schema.space.create('store_signing', {format = {
        {'name', 'string'}, {'private', 'string'}, {'created_at', 'unsigned'},
    }})
    keys:create_index('name', {parts = {'name'}})
end

-- Clause 13. `only`: the people of a page whom a second walk goes to, as campaigns/id_set.py packs them; null: all.
local function chosen()
    local pages = box.space.store_pages
    local format = pages:format()
    for _, field in ipairs(format) do
        if field.name == 'only' then
            return -- it was killed behind this
        end
    end
    table.insert(format, {name = 'only', type = 'array', is_nullable = true})
    pages:format(format)
end

-- Campaigns with other texts than they were fired with. `texts`: their version; `second`: the campaign that goes to those
-- who had got the earlier ones; `copied`: whether that walk is complete; `former`: {when, message}s.
local function corrections()
    local corrected = box.schema.space.create('store_corrections', {format = {
        {'campaign', 'unsigned'}, {'texts', 'unsigned'}, {'second', 'unsigned'}, {'copied', 'boolean'},
        {'former', 'array'},
    }})
    corrected:create_index('campaign', {parts = {'campaign'}})
end

function step.formats()
    explained()
    chosen()
end

function step.rows()
    lengthened()
    answers()
    guards()
    forecast()
    outward()
    signing()
    corrections()
end

return step
