// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.widget;

import android.content.Context;
import android.util.AttributeSet;
import android.view.View;

public abstract class AdapterView<T extends Adapter> extends View {
    public AdapterView(Context context, AttributeSet attrs) {
        super(context, attrs);
    }

    public interface OnItemSelectedListener {
        void onItemSelected(AdapterView<?> parent, View view, int position, long id);

        void onNothingSelected(AdapterView<?> parent);
    }

    public final native OnItemSelectedListener getOnItemSelectedListener();

    public native void setOnItemSelectedListener(OnItemSelectedListener listener);
}
