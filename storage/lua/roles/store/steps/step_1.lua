-- Version 1: all of the store's spaces.

-- The base. `id` to `locale` lie side by side, less the channel, as page_read copies them.
local function base()
    local s = box.schema.space.create('store_subscribers', {format = {
        {'id', 'unsigned'}, {'channel', 'string'}, {'token', 'string'}, {'kind', 'string'},
        {'registered_at', 'unsigned'}, {'locale', 'string'}, {'tz', 'string'}, {'country', 'string'},
        {'app_version', 'string'}, {'screen', 'string'}, {'best_minute', 'unsigned', is_nullable = true},
        {'tags', 'array'}, {'fields', 'map'},
    }})
    box.schema.sequence.create('store_subscriber_id')
    s:create_index('id', {parts = {'id'}, sequence = 'store_subscriber_id'})
    s:create_index('target', {parts = {'channel', 'token'}})

    -- How many subscribers a channel has (Fire needs the count at once), and how many it has ever lost (`campaign verify`
    -- needs that).
    s = box.schema.space.create('store_counts', {format = {
        {'channel', 'string'}, {'subscribers', 'unsigned'}, {'removed', 'unsigned'},
    }})
    s:create_index('channel', {parts = {'channel'}})
end

-- Campaigns; and for each idempotency key the campaign that it made, with a digest of each field of the request.
local function campaigns()
    local s = box.schema.space.create('store_campaigns', {format = {
        {'id', 'unsigned'}, {'version', 'unsigned'}, {'state', 'string'}, {'message', 'string'},
        {'audience', 'map'}, {'policy', 'map'}, {'created_at', 'unsigned'}, {'fired_at', 'unsigned'},
        {'finished_at', 'unsigned'}, {'segments_open', 'unsigned'}, {'pages_open', 'unsigned'},
    }})
    s:create_index('id', {parts = {'id'}})
    s:create_index('state', {parts = {'state', 'id'}})

    s = box.schema.space.create('store_keys', {format = {
        {'owner', 'string'}, {'key', 'string'}, {'campaign', 'unsigned'}, {'request', 'map'}, {'created_at', 'unsigned'},
    }})
    s:create_index('key', {parts = {'owner', 'key'}})
    s:create_index('created', {parts = {'created_at'}, unique = false})
end

-- The ledger: the pages that were walked, their owners, and the outcomes of all recipients.
local function ledger()
    local s = box.schema.space.create('store_totals', {format = {
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

    -- `channels`: the channels of the node's configuration.
    s = box.schema.space.create('store_nodes', {format = {
        {'name', 'string'}, {'uuid', 'string'}, {'epoch', 'unsigned'}, {'status', 'string'},
        {'reported', 'unsigned'}, {'joined_at', 'unsigned'}, {'seen_at', 'unsigned'}, {'channels', 'array'},
    }})
    s:create_index('name', {parts = {'name'}})
end

-- The dead ledger: refused targets, kept until they are judged; one row of sums for each campaign and channel;
-- subscribers deleted within a day; and the subscribers restored from there.
local function dead()
    local s = box.schema.space.create('store_kept', {format = {
        {'campaign', 'unsigned'}, {'channel', 'string'}, {'subscriber', 'unsigned'}, {'token', 'string'},
        {'bound', 'unsigned'}, {'kind', 'string'}, {'reason', 'string'},
    }})
    s:create_index('id', {parts = {'campaign', 'channel', 'subscriber'}})

    s = box.schema.space.create('store_deaths', {format = {
        {'campaign', 'unsigned'}, {'channel', 'string'}, {'state', 'string'}, {'since', 'unsigned'},
        {'likely', 'unsigned'}, {'doubtful', 'unsigned'}, {'waiting', 'unsigned'}, {'removed', 'unsigned'},
        {'postponed', 'unsigned'}, {'limit', 'number'}, {'reasons', 'map'}, {'examples', 'array'},
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

return function()
    base()
    campaigns()
    ledger()
    dead()
end
