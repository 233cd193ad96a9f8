// Signatures written by hand for a type check (README.md): not the library's own source, never packaged.
package android.widget;

import android.content.Context;
import android.util.AttributeSet;

public class Spinner extends AdapterView<SpinnerAdapter> {
    public Spinner(Context context, AttributeSet attrs) {
        super(context, attrs);
    }

    public native SpinnerAdapter getAdapter();

    public native void setAdapter(SpinnerAdapter adapter);

    public native void setSelection(int position);
}
