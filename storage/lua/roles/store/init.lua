-- The store role: subscribers, campaigns, cursors, the page ledger. Verbs are called as `store.NAME`.

local memory = require('roles.memory')
local publish = require('roles.verbs')
local replication = require('replication')
local replicas = require('roles.store.replicas')
local schema = require('roles.store.schema')
local page_read = require('roles.store.page_read')
local audience_count = require('roles.store.audience_count')
local attributes = require('roles.store.attributes')
local subscribers = require('roles.store.subscribers')
local successions = require('roles.store.successions')
local campaigns = require('roles.store.campaigns')
local answers = require('roles.store.answers')
local explain = require('roles.store.explain')
local drafts = require('roles.store.drafts')
local keys = require('roles.store.keys')
local access = require('roles.store.access')
local channels = require('roles.store.channels')
local served = require('roles.store.served')
local corrections = require('roles.store.corrections')
local coverage = require('roles.store.coverage')
local dead = require('roles.store.dead')
local dead_judge = require('roles.store.dead_judge')
local dead_undo = require('roles.store.dead_undo')
local duties = require('roles.store.duties')
local feed = require('roles.store.feed')
local herd = require('roles.store.herd')
local node_states = require('roles.store.node_states')
local experience = require('roles.store.experience')
local nodes = require('roles.store.nodes')
local reach = require('roles.store.reach')
local pauses = require('roles.store.pauses')
local retention = require('roles.store.retention')
local schedule = require('roles.store.schedule')
local signing = require('roles.store.signing')
local walk = require('roles.store.walk')
local webhooks = require('roles.store.webhooks')
local windows = require('roles.store.windows')

local store = {}

function store.start()
    local version = not box.info.ro and schema.migrate() or 0 -- a read replica has its schema from its master
    webhooks.watch()
    publish('store', replication.confirmed({
        subscribers_put = successions.subscribers_put,
        subscribers_elsewhere = successions.subscribers_elsewhere,
        subscribers_successors = successions.subscribers_successors,
        subscribers_remove = subscribers.subscribers_remove,
        subscribers_count = subscribers.subscribers_count,
        subscribers_page = subscribers.subscribers_page,
        subscribers_some = subscribers.subscribers_some,
        campaign_create = campaigns.campaign_create,
        campaign_fire = campaigns.campaign_fire,
        campaign_keyed = keys.campaign_keyed,
        keys_expire = keys.keys_expire,
        draft_save = drafts.draft_save,
        draft_get = drafts.draft_get,
        draft_list = drafts.draft_list,
        draft_delete = drafts.draft_delete,
        key_add = access.key_add,
        key_list = access.key_list,
        key_get = access.key_get,
        key_find = access.key_find,
        key_revoke = access.key_revoke,
        key_used = access.key_used,
        tickets_end = access.tickets_end,
        ticket_add = access.ticket_add,
        ticket_key = access.ticket_key,
        ticket_end = access.ticket_end,
        audit_add = access.audit_add,
        audit_page = access.audit_page,
        campaign_audience = served.audience,
        audience_in = audience_count.audience_in,
        attributes_drawn = attributes.attributes_drawn,
        audience_sample = audience_count.audience_sample,
        subscribers_find = audience_count.subscribers_find,
        highest_id = audience_count.highest_id,
        channels_served = served.channels_served,
        channels_missing = served.channels_missing,
        nodes_serving = served.nodes_serving,
        campaign_get = campaigns.campaign_get,
        campaign_list = campaigns.campaign_list,
        campaign_listed = campaigns.campaign_listed,
        campaign_windows = windows.campaign_windows,
        campaigns_over = campaigns.campaigns_over,
        campaign_reach = reach.campaign_reach,
        experience_keep = experience.experience_keep,
        experience_all = experience.experience_all,
        campaigns_due = schedule.campaigns_due,
        campaign_start = schedule.campaign_start,
        campaign_miss = schedule.campaign_miss,
        node_join = nodes.node_join,
        campaign_pause = pauses.campaign_pause,
        campaign_resume = pauses.campaign_resume,
        campaign_cancel = pauses.campaign_cancel,
        campaign_waits_for = pauses.campaign_waits_for,
        campaign_correct = corrections.campaign_correct,
        open_pages = walk.open_pages,
        campaign_cursors = coverage.campaign_cursors,
        campaign_pages = coverage.campaign_pages,
        subscribers_in = coverage.subscribers_in,
        removals = coverage.removals,
        signing_key = signing.signing_key,
        explain_facts = explain.explain_facts,
        campaign_answers = answers.campaign_answers,
        restored_in = dead_undo.restored_in,
        dead_judge = dead_judge.dead_judge,
        dead_doubt = dead.dead_doubt,
        dead_list = dead.dead_list,
        dead_answer = dead.dead_answer,
        dead_restore = dead_undo.dead_restore,
        duty_take = duties.duty_take,
        duty_leave = duties.duty_leave,
        feed_page = feed.feed_page,
        campaign_rate = herd.campaign_rate,
        herd_rates = herd.herd_rates,
        herd_state = herd.herd_state,
        herd_steer = herd.herd_steer,
        load_note = herd.load_note,
        webhook_due = webhooks.webhook_due,
        webhook_heard = webhooks.webhook_heard,
        webhook_failed = webhooks.webhook_failed,
        webhook_list = webhooks.webhook_list,
        memory = memory.usage,
        node_renew = function(...)
            webhooks.watch()
            return pauses.node_renew(...)
        end,
        channel_states = channels.channel_states,
        node_list = nodes.node_list,
        node_states = node_states.node_states,
        node_forget = nodes.node_forget,
        nodes_release = nodes.release_fenced,
        retention_due = retention.retention_due,
        retention_archived = retention.retention_archived,
        retention_drop = retention.retention_drop,
        page_claim = replicas.positioned(walk.page_claim),
        page_read = page_read,
        page_read_at = replicas.reader(page_read),
        writable = replicas.writable,
        replication = replication.status,
        report = walk.report,
        strays = walk.strays,
    }))
    return version
end

return store
