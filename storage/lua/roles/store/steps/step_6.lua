-- Version 6: stories.

local step = {}

function step.rows()
    -- Stories, whose card on the lock screen is updated by broadcasts. `version`: counts its changes; `live`: whether
    -- something may still have to be done for it; `making`: the place (an app in an environment) where a channel is
    -- being made for it, or empty; `text`: the story, as JSON. `changed_at`: ms UTC.
    local stories = box.schema.space.create('store_stories', {format = {
        {'id', 'unsigned'}, {'version', 'unsigned'}, {'live', 'boolean'}, {'making', 'string'}, {'text', 'string'},
        {'changed_at', 'unsigned'},
    }})
    stories:create_index('id', {parts = {'id'}})
    stories:create_index('live', {parts = {'live', 'id'}})
    stories:create_index('making', {parts = {'making', 'id'}})
    stories:create_index('changed', {parts = {'changed_at', 'id'}})
end

return step
