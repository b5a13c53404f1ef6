-- Version 4: drafts of campaigns.

local step = {}

function step.rows()
    -- What editors have written and not fired. `version`: counts its changes; `request`: the campaign, as JSON, which may
    -- be incomplete; `created_by`, `changed_by`: names of keys. Times: ms UTC.
    local drafts = box.schema.space.create('store_drafts', {format = {
        {'id', 'string'}, {'version', 'unsigned'}, {'title', 'string'}, {'request', 'string'},
        {'created_at', 'unsigned'}, {'created_by', 'string'}, {'changed_at', 'unsigned'}, {'changed_by', 'string'},
    }})
    drafts:create_index('id', {parts = {'id'}})
    drafts:create_index('changed', {parts = {'changed_at', 'id'}})
end

return step
