-- The store's spaces. One step a version, forward only: a step never changes once it has shipped.

local schema = {}

local steps = {}

steps[1] = function()
    local s = box.schema.space.create('store_subscribers', {format = {
        {'id', 'unsigned'}, {'channel', 'string'}, {'token', 'string'}, {'kind', 'string'},
        {'registered_at', 'unsigned'}, {'locale', 'string'}, {'tz', 'string'}, {'country', 'string'},
        {'app_version', 'string'}, {'screen', 'string'}, {'best_minute', 'unsigned', is_nullable = true},
        {'tags', 'array'}, {'fields', 'map'},
    }})
    box.schema.sequence.create('store_subscriber_id')
    s:create_index('id', {parts = {'id'}, sequence = 'store_subscriber_id'})
    s:create_index('target', {parts = {'channel', 'token'}})

    -- How many subscribers a channel has: Fire needs it at once, a count over millions would not be.
    s = box.schema.space.create('store_counts', {format = {{'channel', 'string'}, {'subscribers', 'unsigned'}}})
    s:create_index('channel', {parts = {'channel'}})

    s = box.schema.space.create('store_campaigns', {format = {
        {'id', 'unsigned'}, {'version', 'unsigned'}, {'state', 'string'}, {'message', 'string'},
        {'audience', 'map'}, {'policy', 'map'}, {'created_at', 'unsigned'}, {'fired_at', 'unsigned'},
        {'finished_at', 'unsigned'}, {'segments_open', 'unsigned'}, {'pages_open', 'unsigned'},
    }})
    s:create_index('id', {parts = {'id'}})
    s:create_index('state', {parts = {'state', 'id'}})

    s = box.schema.space.create('store_totals', {format = {
        {'campaign', 'unsigned'}, {'channel', 'string'}, {'tallies', 'map'}, {'reasons', 'map'},
    }})
    s:create_index('id', {parts = {'campaign', 'channel'}})

    s = box.schema.space.create('store_cursors', {format = {
        {'campaign', 'unsigned'}, {'segment', 'unsigned'}, {'seq', 'unsigned'}, {'after_id', 'unsigned'},
        {'end_id', 'unsigned'}, {'ended', 'boolean'}, {'moved_at', 'unsigned'},
    }})
    s:create_index('id', {parts = {'campaign', 'segment'}})

    s = box.schema.space.create('store_pages', {format = {
        {'campaign', 'unsigned'}, {'segment', 'unsigned'}, {'seq', 'unsigned'},
        {'from_id', 'unsigned'}, {'to_id', 'unsigned'}, {'node', 'string'}, {'epoch', 'unsigned'},
        {'claimed_at', 'unsigned'}, {'state', 'string'}, {'recipients', 'unsigned'}, {'settled', 'unsigned'},
        {'tallies', 'map'}, {'spans', 'array'},
    }})
    s:create_index('id', {parts = {'campaign', 'segment', 'seq'}})
    s:create_index('state', {parts = {'state', 'node', 'campaign'}, unique = false})

    s = box.schema.space.create('store_nodes', {format = {
        {'name', 'string'}, {'uuid', 'string'}, {'epoch', 'unsigned'}, {'status', 'string'},
        {'reported', 'unsigned'}, {'joined_at', 'unsigned'}, {'seen_at', 'unsigned'},
    }})
    s:create_index('name', {parts = {'name'}})
end

-- What a proof of coverage needs: how many targets a channel has ever lost, and per page how many were enqueued on each
-- channel (`tallies[channel].enqueued`). A settled page of version 1 has what ended on each channel, which is the same.
steps[2] = function()
    box.space.store_counts:format({
        {'channel', 'string'}, {'subscribers', 'unsigned'}, {'removed', 'unsigned', is_nullable = true},
    })
    for _, page in box.space.store_pages.index.state:pairs({'settled'}) do
        local tallies, ended = page.tallies, 0
        for _, sums in pairs(tallies) do
            local enqueued = 0
            for _, outcome in ipairs({'delivered', 'dead', 'rejected', 'expired', 'cancelled', 'dropped'}) do
                enqueued = enqueued + (sums[outcome] or 0)
            end
            sums.enqueued = enqueued
            ended = ended + enqueued
        end
        if ended == page.recipients then
            box.space.store_pages:update({page.campaign, page.segment, page.seq}, {
                {'=', 'tallies', setmetatable(tallies, {__serialize = 'map'})},
            })
        end
    end
end

-- Which campaign a client's idempotency key has made, and a digest of each field of the request that made it.
steps[3] = function()
    local s = box.schema.space.create('store_keys', {format = {
        {'owner', 'string'}, {'key', 'string'}, {'campaign', 'unsigned'}, {'request', 'map'}, {'created_at', 'unsigned'},
    }})
    s:create_index('key', {parts = {'owner', 'key'}})
    s:create_index('created', {parts = {'created_at'}, unique = false})
end

-- The dead ledger: the refused targets kept until they are judged, one row of sums for each campaign and channel, the rows
-- deleted within a day, and who of those was restored.
steps[4] = function()
    local s = box.schema.space.create('store_kept', {format = {
        {'campaign', 'unsigned'}, {'channel', 'string'}, {'subscriber', 'unsigned'}, {'token', 'string'},
        {'bound', 'unsigned'}, {'kind', 'string'}, {'reason', 'string'},
    }})
    s:create_index('id', {parts = {'campaign', 'channel', 'subscriber'}})

    s = box.schema.space.create('store_deaths', {format = {
        {'campaign', 'unsigned'}, {'channel', 'string'}, {'state', 'string'}, {'since', 'unsigned'},
        {'likely', 'unsigned'}, {'doubtful', 'unsigned'}, {'waiting', 'unsigned'}, {'removed', 'unsigned'},
        {'held', 'unsigned'}, {'limit', 'number'}, {'reasons', 'map'}, {'examples', 'array'},
        {'answered_at', 'unsigned'}, {'early', 'boolean'},
    }})
    s:create_index('id', {parts = {'campaign', 'channel'}})
    s:create_index('state', {parts = {'state', 'since', 'campaign', 'channel'}})

    s = box.schema.space.create('store_removed', {format = {
        {'subscriber', 'unsigned'}, {'channel', 'string'}, {'campaign', 'unsigned'}, {'removed_at', 'unsigned'},
        {'row', 'array'},
    }})
    s:create_index('id', {parts = {'subscriber'}})
    s:create_index('campaign', {parts = {'campaign', 'channel', 'subscriber'}})
    s:create_index('removed_at', {parts = {'removed_at', 'subscriber'}})

    s = box.schema.space.create('store_restored', {format = {
        {'subscriber', 'unsigned'}, {'removed_at', 'unsigned'}, {'restored_at', 'unsigned'}, {'channel', 'string'},
    }})
    s:create_index('id', {parts = {'subscriber', 'removed_at'}})
    s:create_index('restored_at', {parts = {'restored_at', 'subscriber', 'removed_at'}})
end

-- The channels that a node's configuration has; null for a node that joined before this was asked.
steps[5] = function()
    box.space.store_nodes:format({
        {'name', 'string'}, {'uuid', 'string'}, {'epoch', 'unsigned'}, {'status', 'string'},
        {'reported', 'unsigned'}, {'joined_at', 'unsigned'}, {'seen_at', 'unsigned'},
        {'channels', 'array', is_nullable = true},
    })
end

-- Bring the spaces to the newest version, or up to `last` (a base as an older Broadside left it). Answers the version.
function schema.migrate(last)
    local meta = box.space.store_meta
    if meta == nil then
        meta = box.schema.space.create('store_meta', {format = {{'key', 'string'}, {'value', 'any'}}})
        meta:create_index('key', {parts = {'key'}})
    end
    local row = meta:get('schema')
    local version = row and row.value or 0
    if version > #steps then
        error(('the store has schema %d, this Broadside knows %d: start a newer Broadside'):format(version, #steps), 0)
    end
    for n = version + 1, last or #steps do
        steps[n]()
        meta:replace({'schema', n})
    end
    return meta:get('schema').value
end

return schema
